-- One turn of the counters of one shard: what waited at the same moment, judged and charged in the order it came, in one
-- atomic step. docs/holds.md says what each message does in each state; redis/message.rs writes what is read here.
--
-- ARGV[1]  the prefix of every key of the shard; its hash tag is the shard's
-- ARGV[2]  the messages, MessagePack
-- ARGV[3]  the server's time in ms after which nobody waits for the answer: then nothing is done; 0 where it does not matter
-- ARGV[4]  the time in ms, where a test brings its own clock; else empty
--
-- Numbers are doubles, exact up to 2^53. Amounts of money that may be larger travel and rest as two numbers, whole
-- dollars and nano-dollars (0 to 999,999,999), so that no sum is ever rounded.
--
-- Keys     clock        {now, serial}; time never goes back
--          c:<counter>  its first letter is its kind:
--                       r, t  {epoch, wait, sum, held, (bucket, last, sum, held)...}   requests, tokens in 60 s
--                       f     {epoch, wait, held}                                       in flight
--                       s     {epoch, wait, dollars | false, nanos, held, passed, soft dollars | false, soft nanos,
--                              generation, start | false, end | false}                  money
--          h:<hold>     "o" and {admitted, gateway, in, out, cost, amounts} {counters} {accounts} token, while open;
--                       "e" and {state, until, booked | false}, after
--          p:<hold>     {deadline, in, out, cost}, once it started
--          held, started  open holds by deadline
--          m:<gateway>  {last start, last probe | false, dead}
--          replicas     those alive, by when they last said so
--          books        a stream: what was booked and is not known to be in the directory

local P, call, pack, decode = ARGV[1], redis.call, cmsgpack.pack, cmsgpack.unpack
local floor, max, min, byte, sub = math.floor, math.max, math.min, string.byte, string.sub
local messages, stale_after, GIGA, EXACT = decode(ARGV[2]), tonumber(ARGV[3]), 1000000000, 9007199254740991

local MINUTE, BUCKET = 60000, 5000
local UNTIL_START, UNTIL_RENEWAL, REMEMBERED = 30000, 45000, 600000
local ALIVE, PROBE = 30000, 5000
-- How long a refused caller may wait for room, generously.
local WAITS = 60000
local KEEP_HOLD, KEEP_COUNTER, KEEP_WINDOW, KEEP_UNSEEDED, KEEP_METER = 604800000, 10800000, 70000, 60000, 3600000
local AT_ONCE = 64
local REQUESTS, TOKENS, FLIGHT, SPEND = byte('r'), byte('t'), byte('f'), byte('s')
local HELD, STARTED, SETTLED, EXPIRED, RELEASED = 1, 2, 3, 4, 5
local GIVEN_BACK, AS_HELD = -1, -2
local JUDGE, CHARGE = 1, 2

local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)
if ARGV[4] ~= '' then
  now = tonumber(ARGV[4])
elseif stale_after > 0 and now > stale_after then
  return pack({now})
end
local serial = time[1] * 1000000 + time[2]

local C, dirty, H, Z, M = {}, {}, {}, {}, {}
local events, wakes, softs = {}, {}, {}

local function next_serial()
  serial = serial + 1
  return serial
end

-- Sliding minutes -------------------------------------------------------------------------------------------------

local function advance(w)
  local i, n = 5, #w
  while i <= n and w[i + 1] + MINUTE <= now do
    w[3] = w[3] - w[i + 2]
    w[4] = w[4] - w[i + 3]
    i = i + 4
  end
  if i > 5 then
    local to = 5
    for from = i, n do
      w[to] = w[from]
      to = to + 1
    end
    for gone = to, n do w[gone] = nil end
  end
end

local function charge_window(w, amount, held)
  if amount <= 0 then return end
  local number, n = floor(now / BUCKET), #w
  if n < 8 or w[n - 3] ~= number then
    w[n + 1], w[n + 2], w[n + 3], w[n + 4] = number, now, 0, 0
    n = n + 4
  end
  w[n - 2] = now
  w[n - 1] = w[n - 1] + amount
  w[3] = w[3] + amount
  if held then
    w[n] = w[n] + amount
    w[4] = w[4] + amount
  end
end

local function take_back(w, charged_at, surplus, held)
  local number = floor(charged_at / BUCKET)
  for i = 5, #w, 4 do
    if w[i] == number then
      w[i + 2] = w[i + 2] - surplus
      w[i + 3] = w[i + 3] - held
      w[3] = w[3] - surplus
      w[4] = w[4] - held
      if w[i + 2] == 0 then
        for _ = 1, 4 do table.remove(w, i) end
      end
      return
    end
  end
end

local function wait_for(w, amount, limit)
  local sum, at = w[3], now
  for i = 5, #w, 4 do
    if sum + amount <= limit then break end
    sum = sum - w[i + 2]
    at = w[i + 1] + MINUTE
  end
  return at - now
end

local function reset_of(w)
  local n = #w
  if n < 8 then return 0 end
  return w[n - 2] + MINUTE - now
end

-- Counters --------------------------------------------------------------------------------------------------------

local function keep(name, raw)
  local c = raw and decode(raw) or false
  if c then
    local kind = byte(name)
    if kind == REQUESTS or kind == TOKENS then advance(c) end
  end
  C[name] = c
  return c
end

local function counter(name)
  local c = C[name]
  if c == nil then return keep(name, call('GET', P .. 'c:' .. name)) end
  return c
end

local function fresh(name, from, to)
  local kind = byte(name)
  local c
  if kind == FLIGHT then
    c = {next_serial(), 0, 0}
  elseif kind == SPEND then
    c = {next_serial(), 0, false, 0, 0, 0, false, 0, next_serial(), from, to}
    dirty[name] = true
  else
    c = {next_serial(), 0, 0, 0}
  end
  C[name] = c
  return c
end

-- Two numbers of money: what is left of a limit after what is spent, as far as a double tells it exactly.
local function left(hi, lo, spent_hi, spent_lo)
  local dollars = hi - spent_hi
  if dollars > 9000000 then return EXACT end
  if dollars < -9000000 then return -EXACT end
  return dollars * GIGA + lo - spent_lo
end

local function passes_soft(c)
  if c[6] == 1 or c[7] == false then return false end
  if c[3] < c[7] or (c[3] == c[7] and c[4] < c[8]) then return false end
  c[6] = 1
  return true
end

local function wake(name, c)
  c[1] = next_serial()
  if c[2] > now then
    c[2] = 0
    wakes[#wakes + 1] = name
    wakes[#wakes + 1] = c[1]
  end
end

local function spend(accounts, hi, lo)
  for i = 1, #accounts do
    local name = accounts[i]
    local c = counter(name)
    if c then
      dirty[name] = true
      if c[3] == false then
        -- Whoever loads this budget now may or may not see the record: it must load again.
        c[9] = next_serial()
      else
        local nanos = c[4] + lo
        c[3] = c[3] + hi + floor(nanos / GIGA)
        c[4] = nanos % GIGA
        if passes_soft(c) then
          softs[#softs + 1] = {name, c[7], c[8], c[3], c[4]}
        end
      end
      if hi < 0 then wake(name, c) end
    end
  end
end

-- What is spent on these accounts is to be loaded again; what is held stays.
local function unseed(accounts)
  for i = 1, #accounts do
    local c = counter(accounts[i])
    if c then
      c[3], c[4], c[9] = false, 0, next_serial()
      dirty[accounts[i]] = true
    end
  end
end

-- Meters ----------------------------------------------------------------------------------------------------------

local function meter(gateway)
  local m = M[gateway]
  if m == nil then
    local raw = call('GET', P .. 'm:' .. gateway)
    m = raw and decode(raw) or false
    M[gateway] = m
  end
  return m
end

local function put_meter(gateway, m)
  M[gateway] = m
  call('SET', P .. 'm:' .. gateway, pack(m), 'PX', KEEP_METER)
end

local function meter_started(gateway)
  local m = meter(gateway)
  -- Told once a second: that is as exact as anybody needs it.
  if not m or m[3] or m[2] or now - m[1] >= 1000 then put_meter(gateway, {now, false, false}) end
end

-- Holds -----------------------------------------------------------------------------------------------------------

local expire

local function place(id, h, state, deadline)
  local z = Z[id]
  if z then
    z[2], z[3] = state, deadline
  else
    Z[id] = {h and h.state or 0, state, deadline}
  end
end

local function finish(id, h, state, booked)
  local known = h and h.ended and h.known_until or now + REMEMBERED
  place(id, h, 0, 0)
  local ended = {ended = true, state = state, known_until = known, booked = booked}
  H[id] = ended
  call('SET', P .. 'h:' .. id, 'e' .. pack({state, known, booked}), 'PX', max(1, known - now))
  if h and h.progress then call('DEL', P .. 'p:' .. id) end
end

local function read_hold(id, raw, progress)
  if not raw then
    H[id] = false
  elseif byte(raw) == 101 then
    local e = decode(sub(raw, 2))
    H[id] = e[2] > now and {ended = true, state = e[1], known_until = e[2], booked = e[3]} or false
  else
    local h = {raw = raw, state = HELD}
    if progress then
      h.progress = decode(progress)
      h.state = STARTED
    end
    H[id] = h
  end
  return H[id]
end

-- The parts of an open hold that are not always needed.
local function whole(h)
  if not h.head then
    h.head, h.names, h.accounts, h.token = decode(sub(h.raw, 2))
  end
  return h
end

local function hold(id)
  local h = H[id]
  if h == nil then
    local raw = call('MGET', P .. 'h:' .. id, P .. 'p:' .. id)
    h = read_hold(id, raw[1], raw[2])
  end
  if h and not h.ended then
    local deadline
    if h.progress then
      deadline = h.progress[1]
    else
      deadline = whole(h).head[1] + UNTIL_START
    end
    h.deadline = deadline
    if deadline <= now then
      expire(id, h)
      h = H[id]
    end
  end
  return h
end

-- Takes what a hold has reserved off its counters. `used` tokens, or GIVEN_BACK, or AS_HELD.
local function close(h, used)
  local head, names = h.head, h.names
  local at, amounts = head[1], head[6]
  for i = 1, #names do
    local name = names[i]
    local c = name ~= '' and counter(name)
    if c then
      local amount, kind = amounts[i], byte(name)
      dirty[name] = true
      wake(name, c)
      if kind == REQUESTS then
        if used == GIVEN_BACK then take_back(c, at, amount, 0) end
      elseif kind == TOKENS then
        local tokens = used
        if used == GIVEN_BACK then tokens = 0 elseif used == AS_HELD then tokens = amount end
        take_back(c, at, max(0, amount - tokens), amount)
        charge_window(c, tokens - amount, false)
      elseif kind == FLIGHT then
        c[3] = max(0, c[3] - amount)
      else
        c[5] = max(0, c[5] - amount)
      end
    end
  end
end

-- A hold ends because its time is over.
expire = function(id, h)
  whole(h)
  local head = h.head
  local booked, status = false, nil
  if h.progress then
    local p = h.progress
    close(h, p[2] + p[3])
    booked, status = {p[2], p[3], p[4], p[2] + p[3]}, 'unsettled'
  else
    local m = meter(head[2])
    if m and m[1] and m[1] + ALIVE >= h.deadline then
      close(h, GIVEN_BACK)
    else
      put_meter(head[2], {m and m[1] or false, m and m[2] or false, true})
      close(h, AS_HELD)
      booked, status = {head[3], head[4], head[5], -1}, 'unmetered'
    end
  end
  if status then
    if h.token == '' then
      -- Another shard books it; the counters here take what the ledger says.
      unseed(h.accounts)
    else
      spend(h.accounts, floor(booked[3] / GIGA), booked[3] % GIGA)
      local event = {status, booked[1], booked[2], booked[3], now, h.token}
      event[7] = call('XADD', P .. 'books', '*', 'e', pack(event))
      events[#events + 1] = event
    end
  end
  finish(id, h, EXPIRED, booked)
end

local function run(id, h, input, output, cost)
  local deadline, p = now + UNTIL_RENEWAL, h.progress
  if p then
    p = {deadline, max(p[2], input), max(p[3], output), max(p[4], cost)}
  else
    p = {deadline, input, output, cost}
  end
  place(id, h, STARTED, deadline)
  h.progress, h.state, h.deadline = p, STARTED, deadline
  call('SET', P .. 'p:' .. id, pack(p), 'PX', KEEP_HOLD)
  return p
end

local function expire_due(set)
  local due = call('ZRANGEBYSCORE', P .. set, '-inf', now, 'LIMIT', 0, AT_ONCE)
  for i = 1, #due do
    local id = due[i]
    local h = hold(id)
    if not h or h.ended then
      if not Z[id] then Z[id] = {set == 'held' and HELD or STARTED, 0, 0} end
    else
      place(id, h, h.state, h.deadline)
    end
  end
end

-- Messages --------------------------------------------------------------------------------------------------------

-- What a counter stands at: whole dollars and nanos spent (or 0 and an amount), held, ms until it is whole again.
local function standing(name, into, at)
  local c, kind = counter(name), byte(name)
  local hi, lo, held, reset, soft = 0, 0, 0, 0, 0
  if c then
    if kind == REQUESTS or kind == TOKENS then
      lo, held, reset = c[3] - c[4], c[4], reset_of(c)
    elseif kind == FLIGHT then
      held = c[3]
    elseif c[3] == false then
      lo = -1
    else
      hi, lo, held, soft = c[3], c[4], c[5], passes_soft(c) and 1 or 0
      if soft == 1 then dirty[name] = true end
      if c[11] then reset = max(0, c[11] - now) end
    end
  elseif kind == SPEND then
    lo = -1
  end
  into[at], into[at + 1], into[at + 2], into[at + 3], into[at + 4] = hi, lo, held, reset, soft
end

local open_holds

-- {'A', hold, gateway, needs a meter, how (JUDGE, CHARGE or both), most open holds, lines, names, token's beginning, amounts,
-- token's end, in, out, cost}; names is {counters} {accounts} as it is kept; a line is counter,
-- limit (dollars and nanos, or 0 and an amount), soft limit (dollars | false, nanos), start | false, end | false, repeated.
-- Answers {0, (dollars, nanos, held, reset, soft passed)...}, {1, line, dollars, nanos, held, retry, never, only held,
-- epoch}, {2, (line, generation)...}, {3}, {4, retry} or {5, open holds}.
local function admit(m)
  local id, gateway, needs_meter, lines, amounts = m[2], m[3], m[4], m[7], m[10]
  local judging, forced = m[5] == JUDGE, m[5] == CHARGE
  local h = hold(id)
  if h and not judging then
    local again = {0}
    for i = 1, #lines, 8 do standing(lines[i], again, #again + 1) end
    return again
  end
  if not open_holds then open_holds = call('ZCARD', P .. 'held') + call('ZCARD', P .. 'started') end
  if open_holds >= m[6] and not forced then return {5, open_holds} end
  for i = 1, #lines, 8 do
    if forced then break end
    if lines[i + 6] and (now < lines[i + 5] or now >= lines[i + 6]) then return {3} end
  end
  local watched = needs_meter and meter(gateway)
  if not forced and watched and watched[3] and watched[2] and now < watched[2] + PROBE then
    return {4, watched[2] + PROBE - now}
  end

  local unseeded, worst, worst_never, only_held = nil, nil, false, true
  local at = 0
  for i = 1, #lines, 8 do
    at = at + 1
    local name, amount = lines[i], amounts[at]
    local kind = byte(name)
    local c = counter(name) or fresh(name, lines[i + 5], lines[i + 6])
    if kind == SPEND and c[3] == false then
      if not lines[i + 7] and not forced then
        unseeded = unseeded or {2}
        unseeded[#unseeded + 1] = at - 1
        unseeded[#unseeded + 1] = c[9]
      end
    else
      local room, limit, hi, lo, held
      if kind == SPEND then
        hi, lo, held = c[3], c[4], c[5]
        room = left(lines[i + 1], lines[i + 2], hi, lo)
        limit = left(lines[i + 1], lines[i + 2], 0, 0)
      else
        hi, lo, held, limit = 0, 0, c[3], lines[i + 2]
        if kind ~= FLIGHT then lo, held = c[3] - c[4], c[4] end
        room = limit - lo
      end
      if held + amount > room and not forced then
        local too_large = amount > limit
        local held_only = not too_large and amount <= room
        local retry, never = 1000, too_large
        if kind == REQUESTS or kind == TOKENS then
          retry = too_large and 0 or wait_for(c, amount, limit)
        elseif kind == SPEND and not held_only then
          if lines[i + 6] then retry = lines[i + 6] - now else never = true end
        end
        if never then retry = 0 end
        only_held = only_held and held_only
        if not worst or (never and not worst_never) or (never == worst_never and retry > worst[6]) then
          worst, worst_never = {1, at - 1, hi, lo, held, retry, never, false, c[1]}, never
        end
      end
    end
  end
  if unseeded then return unseeded end
  if worst then
    worst[8] = only_held
    if only_held then
      local name = lines[worst[2] * 8 + 1]
      C[name][2] = now + WAITS
      dirty[name] = true
    end
    return worst
  end
  if judging then return {0} end

  local answer, last = {0}, 1
  at = 0
  for i = 1, #lines, 8 do
    at = at + 1
    local name = lines[i]
    if not lines[i + 7] then
      local kind, amount, c = byte(name), amounts[at], C[name]
      dirty[name] = true
      if kind == REQUESTS then
        charge_window(c, amount, false)
      elseif kind == TOKENS then
        charge_window(c, amount, true)
      elseif kind == FLIGHT then
        c[3] = c[3] + amount
      else
        c[5] = c[5] + amount
        c[7], c[8] = lines[i + 3], lines[i + 4]
      end
    elseif lines[i + 3] then
      C[name][7], C[name][8] = lines[i + 3], lines[i + 4]
    end
    standing(name, answer, last + 1)
    last = last + 5
  end
  open_holds = open_holds + 1
  local raw = 'o' .. pack({now, gateway, m[12], m[13], m[14], amounts}) .. m[8] .. pack(m[9] .. m[11])
  call('SET', P .. 'h:' .. id, raw, 'PX', KEEP_HOLD)
  H[id] = {raw = raw, state = 0}
  place(id, H[id], HELD, now + UNTIL_START)
  H[id].state = HELD
  if watched and watched[3] then put_meter(gateway, {watched[1], now, true}) end
  return answer
end

-- {'S', hold, gateway, in, out, cost}. Answers the state found.
local function start(m)
  local h = hold(m[2])
  meter_started(m[3])
  if not h then return 0 end
  local found = h.state
  if not h.ended then run(m[2], h, m[4], m[5], m[6]) end
  return found
end

-- {'R', hold, in, out, cost}. Answers {in, out, cost, heard of only now}, or nothing where it does not run.
local function renew(m)
  local h = hold(m[2])
  if not h or h.ended then return {} end
  local unheard_of = h.state == HELD
  if unheard_of then meter_started(whole(h).head[2]) end
  local p = run(m[2], h, m[3], m[4], m[5])
  return {p[2], p[3], p[4], unheard_of}
end

local function charge_late(names, amounts, tokens, request)
  for i = 1, #names do
    local name = names[i]
    if name ~= '' then
      local kind, amount = byte(name), 0
      if kind == TOKENS then amount = tokens(amounts[i]) elseif kind == REQUESTS and request then amount = amounts[i] end
      if amount > 0 then
        local c = counter(name) or fresh(name)
        charge_window(c, amount, false)
        dirty[name] = true
      end
    end
  end
end

-- {'T', hold, tokens, dollars, nanos, forgotten, record | '', counters | false, amounts | false, accounts | false}.
-- Answers {0, entry} applied, {1, in, out, cost, entry} corrected by what was booked before, {2} duplicate, {3} forgotten,
-- {4} where the counters and accounts are needed and were not sent.
local function settle(m)
  local id, tokens, hi, lo = m[2], m[3], m[4], m[5]
  local h = hold(id)
  local accounts, booked, answer
  if h and not h.ended then
    whole(h)
    close(h, tokens)
    accounts, answer = h.accounts, {0}
  elseif h and h.state == SETTLED then
    return {2}
  elseif not h and not m[6] then
    return {3}
  elseif not m[8] then
    return {4}
  else
    accounts, answer = m[10], {0}
    if not h then
      charge_late(m[8], m[9], function(held) return tokens - held end, false)
    elseif h.booked then
      booked = h.booked
      charge_late(m[8], m[9], function(held) return tokens - (booked[4] < 0 and held or booked[4]) end, false)
      local nanos = lo - booked[3] % GIGA
      hi = hi - floor(booked[3] / GIGA) + floor(nanos / GIGA)
      lo = nanos % GIGA
      answer = {1, booked[1], booked[2], booked[3]}
    else
      charge_late(m[8], m[9], function() return tokens end, true)
    end
  end
  spend(accounts, hi, lo)
  finish(id, h, SETTLED, false)
  if m[7] ~= '' then
    answer[#answer + 1] = call('XADD', P .. 'books', '*', 'r', pack({m[7], booked or false}))
  else
    answer[#answer + 1] = ''
  end
  return answer
end

-- {'L', hold, forget}: gives everything back. With `forget` the hold is as if it had never been asked for. Answers the
-- state found.
local function release(m)
  local id = m[2]
  local h = hold(id)
  if not h then return 0 end
  local found = h.state
  if h.ended or found ~= HELD then return found end
  whole(h)
  close(h, GIVEN_BACK)
  finish(id, h, RELEASED, false)
  if m[3] then
    call('DEL', P .. 'h:' .. id)
    H[id] = false
  end
  return found
end

-- {'D', counter, generation, dollars, nanos}. Answers whether the budget is loaded now.
local function seed(m)
  local c = counter(m[2])
  if not c then return false end
  if c[3] ~= false then return true end
  if c[9] ~= m[3] then return false end
  c[3], c[4] = m[4], m[5]
  dirty[m[2]] = true
  return true
end

-- {'J', accounts, dollars, nanos, record | ''}. Answers the entry.
local function adjust(m)
  spend(m[2], m[3], m[4])
  if m[5] == '' then return '' end
  return call('XADD', P .. 'books', '*', 'r', pack({m[5], false}))
end

-- {'Q', counter}. Answers {dollars, nanos, held, start | false, end | false}, or nothing where it is not loaded.
local function query(m)
  local at = {}
  standing(m[2], at, 1)
  if at[2] < 0 then return {} end
  local c = counter(m[2])
  return {at[1], at[2], at[3], c and c[10] or false, c and c[11] or false}
end

-- {'B', cursor}: budgets that are loaded, a piece at a time. Answers {next cursor, (counter, dollars, nanos, start, end)...}.
local function budgets(m)
  local found = call('SCAN', m[2], 'MATCH', P .. 'c:s|*', 'COUNT', 1000)
  local answer = {found[1]}
  for i = 1, #found[2] do
    local name = sub(found[2][i], #P + 3)
    local c = counter(name)
    if c and c[3] ~= false then
      answer[#answer + 1] = {name, c[3], c[4], c[10], c[11]}
    end
  end
  return answer
end

local does = {
  A = admit, S = start, R = renew, T = settle, L = release, D = seed, J = adjust, Q = query, B = budgets,
  -- {'X', accounts}: what is spent on them is loaded again.
  X = function(m) unseed(m[2]) return true end,
  -- {'M', gateway, last start}: another shard saw this meter alive.
  M = function(m)
    local known = meter(m[2])
    if not known or not known[1] or known[1] < m[3] then put_meter(m[2], {m[3], false, false}) end
    return true
  end,
  -- {'G', gateway}: whether its meter is known dead.
  G = function(m)
    local known = meter(m[2])
    return known and known[3] or false
  end,
  -- {'H', replica}: it is alive. Answers how many are.
  H = function(m)
    call('ZADD', P .. 'replicas', now, m[2])
    call('ZREMRANGEBYSCORE', P .. 'replicas', '-inf', now - ALIVE)
    call('PEXPIRE', P .. 'replicas', KEEP_HOLD)
    return call('ZCARD', P .. 'replicas')
  end,
  -- {'N'}: open holds, not started and started. Answered when the turn is over.
  N = function() return {} end,
}

-- The turn --------------------------------------------------------------------------------------------------------

-- Everything it will need is read at once.
do
  local names, holds, keys = {}, {}, {P .. 'clock'}
  local function want(name)
    if name ~= '' and C[name] == nil then
      C[name] = false
      names[#names + 1] = name
    end
  end
  for i = 1, #messages do
    local m = messages[i]
    local kind = m[1]
    if kind == 'A' then
      for line = 1, #m[7], 8 do want(m[7][line]) end
    elseif kind == 'D' or kind == 'Q' then
      want(m[2])
    end
    if (kind == 'A' or kind == 'S' or kind == 'R' or kind == 'T' or kind == 'L') and H[m[2]] == nil then
      H[m[2]] = false
      holds[#holds + 1] = m[2]
    end
  end
  for i = 1, #holds do
    keys[#keys + 1] = P .. 'h:' .. holds[i]
    keys[#keys + 1] = P .. 'p:' .. holds[i]
  end
  for i = 1, #names do keys[#keys + 1] = P .. 'c:' .. names[i] end
  local found = {}
  for first = 1, #keys, 4000 do
    local part = call('MGET', unpack(keys, first, min(first + 3999, #keys)))
    for i = 1, #part do found[first + i - 1] = part[i] end
  end
  if found[1] then
    local clock = decode(found[1])
    now, serial = max(now, clock[1]), max(serial, clock[2] + 1)
  end
  for i = 1, #holds do read_hold(holds[i], found[2 * i], found[2 * i + 1]) end
  for i = 1, #names do keep(names[i], found[1 + 2 * #holds + i]) end
end

expire_due('held')
expire_due('started')

local answers = {}
for i = 1, #messages do
  local m = messages[i]
  answers[i] = does[m[1]](m)
end

for name in pairs(dirty) do
  local c = C[name]
  local kind, life = byte(name), KEEP_COUNTER
  if kind == REQUESTS or kind == TOKENS then
    life = KEEP_WINDOW
  elseif kind == SPEND and c[3] == false and c[5] == 0 then
    life = KEEP_UNSEEDED
  end
  call('SET', P .. 'c:' .. name, pack(c), 'PX', life)
end

do
  local add, drop = {[HELD] = {}, [STARTED] = {}}, {[HELD] = {}, [STARTED] = {}}
  for id, z in pairs(Z) do
    local was, is, deadline = z[1], z[2], z[3]
    if (was == HELD or was == STARTED) and was ~= is then drop[was][#drop[was] + 1] = id end
    if is ~= 0 then
      local to = add[is]
      to[#to + 1] = deadline
      to[#to + 1] = id
    end
  end
  for state, set in pairs({[HELD] = 'held', [STARTED] = 'started'}) do
    for first = 1, #drop[state], 4000 do
      call('ZREM', P .. set, unpack(drop[state], first, min(first + 3999, #drop[state])))
    end
    for first = 1, #add[state], 4000 do
      call('ZADD', P .. set, unpack(add[state], first, min(first + 3999, #add[state])))
    end
    if #add[state] > 0 then call('PEXPIRE', P .. set, KEEP_HOLD) end
  end
end

for i = 1, #messages do
  if messages[i][1] == 'N' then answers[i] = {call('ZCARD', P .. 'held'), call('ZCARD', P .. 'started')} end
end

if #wakes > 0 then call('PUBLISH', P .. 'room', pack(wakes)) end
call('SET', P .. 'clock', pack({now, serial}), 'PX', KEEP_HOLD)
return pack({now, answers, events, wakes, softs})
