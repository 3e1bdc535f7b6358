-- One turn of the counters of one shard: what waited at the same moment, judged and charged in the order it came, in one
-- atomic step. docs/holds.md says what each message does in each state; redis/message.rs writes what is read here.
--
-- ARGV[1]  the prefix of every key of the shard; its hash tag is the shard's
-- ARGV[2]  the messages, MessagePack
-- ARGV[3]  the server's time in ms after which nobody waits for the answer: then nothing is done; 0 where it does not matter
-- ARGV[4]  the time in ms, where a test brings its own clock; else empty
-- ARGV[5]  the highest serial the asking replica has seen here: where less is known, something was lost
-- ARGV[6]  the name of the asking replica
--
-- Numbers are doubles, exact up to 2^53. Amounts of money that may be larger travel and rest as two numbers, whole
-- dollars and nano-dollars (0 to 999,999,999), so that no sum is ever rounded.
--
-- Keys     clock        {now, serial, held, started, second held, second started, era, quiet until}; time never goes back,
--                       and open holds were looked at up to these seconds. What is spent was loaded in this era, or
--                       must be loaded again: one begins when Redis has lost something
--          c:<counter>  its first letter is its kind:
--                       r, t  {epoch, wait, sum, held, (bucket, last, sum, held)...}   requests, tokens in 60 s
--                       f     {epoch, wait, held}                                       in flight
--                       s     {epoch, wait, dollars | false, nanos, held, passed, soft dollars | false, soft nanos,
--                              generation, start | false, end | false, era}             money
--          b:<binding>  {lines} {counters} {accounts} token's beginning: what all holds of a caller's kind share. The first
--                       of a kind has it in place of its name
--          h:<hold>     "o", when it was admitted (13 digits) and {gateway, in, out, cost, amounts, binding} token's end,
--                       while open;
--                       "e" and {state, until, booked | false}, after
--          p:<hold>     {deadline, in, out, cost}, once it started
--          d:h:<second>, d:s:<second>  holds and their deadlines, not started and started, in the order of deadlines; one
--                       that ended or was renewed since is passed over
--          m:<gateway>  {last start, last probe | false, dead}
--          replicas     those alive, by when they last said so
--          books        a stream: what was booked and is not known to be in the directory

local P, call, pack, decode = ARGV[1], redis.call, cmsgpack.pack, cmsgpack.unpack
local floor, max, min, byte, sub = math.floor, math.max, math.min, string.byte, string.sub
local messages, stale_after, GIGA, EXACT = decode(ARGV[2]), tonumber(ARGV[3]), 1000000000, 9007199254740991

local MINUTE, BUCKET = 60000, 5000
local UNTIL_START, UNTIL_RENEWAL, REMEMBERED = 30000, 45000, 600000
local ALIVE, PROBE, LATE = 30000, 5000, 5000
-- How long a refused caller may wait for room, generously.
local WAITS = 60000
-- How long keys live, in ms; as text, which is what Redis makes of numbers at some cost.
local KEEP_HOLD, KEEP_BINDING = '604800000', '7200000'
local KEEP_COUNTER, KEEP_WINDOW, KEEP_UNSEEDED, KEEP_METER = '10800000', '70000', '60000', '3600000'
-- Holds whose time may be over, and seconds, that are looked at in one turn.
local AT_ONCE, SECONDS = 256, 2000
local REQUESTS, TOKENS, FLIGHT, SPEND = byte('r'), byte('t'), byte('f'), byte('s')
local HELD, STARTED, SETTLED, EXPIRED, RELEASED = 1, 2, 3, 4, 5
local GIVEN_BACK, AS_HELD = -1, -2
local JUDGE, CHARGE, CHARGE_LATE = 1, 2, 3

local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)
if ARGV[4] ~= '' then
  now = tonumber(ARGV[4])
elseif stale_after > 0 and now > stale_after then
  return pack({now})
end
local serial = time[1] * 1000000 + time[2]

local C, dirty, H, M, B = {}, {}, {}, {}, {}
local era, quiet_until, booked_here = 0, 0, false
-- Open holds, and those that are due at a later second.
local count, due = {[1] = 0, [2] = 0}, {[1] = {}, [2] = {}}
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
    if kind == REQUESTS or kind == TOKENS then
      advance(c)
    elseif kind == SPEND and c[12] ~= era then
      serial = serial + 1
      c[3], c[4], c[9], c[12] = false, 0, serial, era
      dirty[name] = true
    end
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
    c = {next_serial(), 0, false, 0, 0, 0, false, 0, next_serial(), from or false, to or false, era}
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

-- Numbers as text: the same few in every turn.
local texts = {}
local function text(number)
  local t = texts[number]
  if not t then
    t = tostring(number)
    texts[number] = t
  end
  return t
end

-- A hold is in this state from now on, until this deadline.
local function place(id, h, state, deadline)
  local was = h and h.state or 0
  if was ~= state then
    if count[was] then count[was] = max(0, count[was] - 1) end
    if count[state] then count[state] = count[state] + 1 end
  end
  if count[state] then
    local second = floor(deadline / 1000)
    local list = due[state][second]
    if not list then
      list = {}
      due[state][second] = list
    end
    list[#list + 1] = id .. text(deadline)
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

-- What the holds of a caller's kind share; nothing where it was never told.
local function binding(name, told)
  local b = B[name]
  if b == nil then
    -- The first hold of a kind brings it along.
    local raw = #name ~= 16 and name or call('GET', P .. 'b:' .. name) or told
    b = raw and {}
    if b then b.lines, b.names, b.accounts, b.token = decode(raw) end
    B[name] = b or false
  end
  return b
end

-- The parts of an open hold that are not always needed.
local function whole(h)
  if not h.head then
    h.admitted = tonumber(sub(h.raw, 2, 14))
    local rest
    h.head, rest = decode(sub(h.raw, 15))
    local b = binding(h.head[6]) or {names = {}, accounts = {}, token = ''}
    h.names, h.accounts, h.token = b.names, b.accounts, b.token ~= '' and b.token .. rest or ''
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
      deadline = tonumber(sub(h.raw, 2, 14)) + UNTIL_START
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
  local at, amounts = h.admitted, head[5]
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

-- Whether a replica died while a hold waited to start, or up to a minute before it was admitted: its gateway may have
-- told the start to that replica. One that stops as it should says so, and while none tells that it is alive nobody knows.
local died
local function a_replica_died(admitted)
  if died == nil then
    died = false
    -- After a silence of Redis itself everybody seems to have been silent.
    if now >= quiet_until and call('ZCOUNT', P .. 'replicas', now - 3000, '+inf') > 0 then
      local last = call('ZREVRANGEBYSCORE', P .. 'replicas', now - LATE, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
      died = last[2] and tonumber(last[2]) or false
    end
  end
  return died and died >= admitted - MINUTE
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
    local m = meter(head[1])
    local alive = m and m[1] and m[1] + ALIVE >= h.deadline
    if alive and not a_replica_died(h.admitted) then
      close(h, GIVEN_BACK)
    else
      if not alive then put_meter(head[1], {m and m[1] or false, m and m[2] or false, true}) end
      close(h, AS_HELD)
      booked, status = {head[2], head[3], head[4], -1}, 'unmetered'
    end
  end
  if status then
    if h.token == '' then
      -- Another shard books it; the counters here take what the ledger says.
      unseed(h.accounts)
    else
      spend(h.accounts, floor(booked[3] / GIGA), booked[3] % GIGA)
      local event = {status, booked[1], booked[2], booked[3], now, h.token}
      event[7] = call('XADD', P .. 'books', '*', 'e', pack(event), 'w', ARGV[6])
      booked_here = true
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

local function expire_due(state, kind, second)
  local last, most, steps = floor(now / 1000), AT_ONCE, SECONDS
  while most > 0 and steps > 0 do
    local key = P .. kind .. second
    local listed = call('LRANGE', key, 0, most - 1)
    local taken, wanted, keys = 0, {}, {}
    for i = 1, #listed do
      if tonumber(sub(listed[i], 17)) > now then break end
      taken = i
      local id = sub(listed[i], 1, 16)
      if H[id] == nil then
        wanted[#wanted + 1] = id
        keys[#keys + 1] = P .. 'h:' .. id
        keys[#keys + 1] = P .. 'p:' .. id
      end
    end
    if #wanted > 0 then
      local found = call('MGET', unpack(keys))
      for i = 1, #wanted do read_hold(wanted[i], found[2 * i - 1], found[2 * i]) end
    end
    -- Whose time is over ends by being looked at.
    for i = 1, taken do hold(sub(listed[i], 1, 16)) end
    if taken > 0 then call('LTRIM', key, taken, -1) end
    most = most - taken
    if taken < #listed then break end
    if most > 0 then
      if second >= last then break end
      second = second + 1
      steps = steps - 1
    end
  end
  return second
end

-- Messages --------------------------------------------------------------------------------------------------------

-- What a counter stands at, appended: of money whole dollars, nanos (-1: not loaded), what is held, whether its soft limit
-- is passed now; of all else what is used, and the ms until it is whole again.
local function standing(name, into)
  local c, kind, at = counter(name), byte(name), #into + 1
  if kind == SPEND then
    if not c or c[3] == false then
      into[at], into[at + 1], into[at + 2], into[at + 3] = 0, -1, 0, 0
    else
      local soft = passes_soft(c) and 1 or 0
      if soft == 1 then dirty[name] = true end
      into[at], into[at + 1], into[at + 2], into[at + 3] = c[3], c[4], c[5], soft
    end
  elseif not c then
    into[at], into[at + 1] = 0, 0
  elseif kind == FLIGHT then
    into[at], into[at + 1] = c[3], 0
  else
    into[at], into[at + 1] = c[3], reset_of(c)
  end
end

-- {'A', hold, gateway, needs a meter, how (JUDGE, CHARGE, CHARGE_LATE or 0: both),
-- most open holds, binding, what it is | '', amounts,
-- the hold as it is kept}. A line of a binding is counter, limit (dollars and nanos, or 0 and an amount), soft limit
-- (dollars | false, nanos), start | false, end | false, repeated.
-- Answers {0, what each line stands at...}, {1, line, dollars, nanos, held, retry, never, only held, epoch},
-- {2, (line, generation)...}, {3}, {4, retry}, {5, open holds}, or {6} where the binding is not known and was not told.
local judge

local function admitted_before(lines)
  local again = {0}
  for i = 1, #lines, 8 do standing(lines[i], again) end
  return again
end

local function admit(m)
  local id, told, how = m[2], m[8] ~= '' and m[8] or nil, m[5]
  local b = binding(m[7], told)
  if not b then return {6} end
  if told and not b.kept then
    b.kept = true
    call('SET', P .. 'b:' .. m[7], told, 'PX', KEEP_BINDING)
  end
  local refused = judge(m, b)
  if refused then
    -- Of what was admitted before nothing is asked again.
    if how ~= JUDGE and hold(id) then return admitted_before(b.lines) end
    return refused
  end
  if how == JUDGE then return {0} end
  local raw = 'o' .. text(now) .. m[10]
  if H[id] or not call('SET', P .. 'h:' .. id, raw, 'PX', KEEP_HOLD, 'NX') then
    if hold(id) then return admitted_before(b.lines) end
    -- One that ended long ago and is not gone yet.
    call('SET', P .. 'h:' .. id, raw, 'PX', KEEP_HOLD)
  end
  local h = {raw = raw, state = 0}
  H[id] = h
  place(id, h, HELD, now + UNTIL_START)
  h.state = HELD

  local lines, amounts, answer, at = b.lines, m[9], {0}, 0
  for i = 1, #lines, 8 do
    at = at + 1
    local name = lines[i]
    if not lines[i + 7] then
      local kind, amount, c = byte(name), amounts[at], C[name]
      dirty[name] = true
      if kind == REQUESTS or kind == TOKENS then
        -- What took place more than a minute ago is in no window any more.
        if how ~= CHARGE_LATE then charge_window(c, amount, kind == TOKENS) end
      elseif kind == FLIGHT then
        c[3] = c[3] + amount
      else
        c[5] = c[5] + amount
        c[7], c[8] = lines[i + 3], lines[i + 4]
      end
    elseif lines[i + 3] then
      C[name][7], C[name][8] = lines[i + 3], lines[i + 4]
    end
    standing(name, answer)
  end
  local gateway = m[3]
  local watched = m[4] and meter(gateway)
  if watched and watched[3] then put_meter(gateway, {watched[1], now, true}) end
  return answer
end

-- What there is against an admission; nothing where it may be charged.
judge = function(m, b)
  local gateway, needs_meter, forced, lines, amounts = m[3], m[4], m[5] >= CHARGE, b.lines, m[9]
  if not forced then
    local open = count[HELD] + count[STARTED]
    if open >= m[6] then return {5, open} end
    if b.spans == nil then
      b.spans = false
      for i = 1, #lines, 8 do b.spans = b.spans or lines[i + 6] ~= false end
    end
    if b.spans then
      for i = 1, #lines, 8 do
        if lines[i + 6] and (now < lines[i + 5] or now >= lines[i + 6]) then return {3} end
      end
    end
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
  end
  return worst
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
  whole(h)
  if unheard_of then meter_started(h.head[1]) end
  -- What a long stream needs to be booked lives as long as it does.
  if now - h.admitted > REMEMBERED and #h.head[6] == 16 then call('PEXPIRE', P .. 'b:' .. h.head[6], KEEP_BINDING) end
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
  if m[7] == '' and (not h or h.ended) then
    -- The home has booked it, and whoever loads these budgets may have seen that or not.
    unseed(accounts)
  else
    spend(accounts, hi, lo)
  end
  finish(id, h, SETTLED, false)
  if m[7] ~= '' then
    answer[#answer + 1] = call('XADD', P .. 'books', '*', 'r', pack({m[7], booked or false}), 'w', ARGV[6])
    booked_here = true
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
  booked_here = true
  return call('XADD', P .. 'books', '*', 'r', pack({m[5], false}), 'w', ARGV[6])
end

-- {'Q', counter}. Answers {dollars, nanos, held}, or {0, spent, held}, or nothing where it is not loaded.
local function query(m)
  local name = m[2]
  local c, kind = counter(name), byte(name)
  if kind == SPEND then
    if not c or c[3] == false then return {} end
    return {c[3], c[4], c[5]}
  elseif not c then
    return {0, 0, 0}
  elseif kind == FLIGHT then
    return {0, 0, c[3]}
  end
  return {0, c[3] - c[4], c[4]}
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
    call('ZREMRANGEBYSCORE', P .. 'replicas', '-inf', now - REMEMBERED)
    call('PEXPIRE', P .. 'replicas', KEEP_HOLD)
    return call('ZCOUNT', P .. 'replicas', now - ALIVE, '+inf')
  end,
  -- {'O', replica}: it stops as it should.
  O = function(m) return call('ZREM', P .. 'replicas', m[2]) end,
  -- {'N'}: open holds, not started and started. Answered when the turn is over.
  N = function() return {} end,
}

-- The turn --------------------------------------------------------------------------------------------------------

local second_held, second_started

-- Everything it will need is read at once.
do
  local names, holds, keys, asked = {}, {}, {P .. 'clock'}, {}
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
      if not asked[m[7]] then
        asked[m[7]] = true
        local b = binding(m[7], m[8] ~= '' and m[8] or nil)
        if b then
          for line = 1, #b.lines, 8 do want(b.lines[line]) end
        end
      end
    elseif kind == 'D' or kind == 'Q' then
      want(m[2])
    end
    if (kind == 'S' or kind == 'R' or kind == 'T' or kind == 'L') and H[m[2]] == nil then
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
  second_held, second_started = floor(now / 1000), floor(now / 1000)
  if found[1] then
    local clock = decode(found[1])
    count[HELD], count[STARTED], second_held, second_started = clock[3], clock[4], clock[5], clock[6]
    era, quiet_until = clock[7], clock[8]
    if now - clock[1] > LATE then quiet_until = now + LATE end
    if clock[2] < tonumber(ARGV[5]) then era = serial end
    now, serial = max(now, clock[1]), max(serial, clock[2] + 1, tonumber(ARGV[5]) + 1)
  else
    era, quiet_until = serial, now + LATE
  end
  for i = 1, #holds do read_hold(holds[i], found[2 * i], found[2 * i + 1]) end
  for i = 1, #names do keep(names[i], found[1 + 2 * #holds + i]) end
end

second_held = expire_due(HELD, 'd:h:', second_held)
second_started = expire_due(STARTED, 'd:s:', second_started)

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

for state, kind in pairs({[HELD] = 'd:h:', [STARTED] = 'd:s:'}) do
  for second, list in pairs(due[state]) do
    local key = P .. kind .. second
    for first = 1, #list, 4000 do
      local length = call('RPUSH', key, unpack(list, first, min(first + 3999, #list)))
      if length == #list then call('PEXPIRE', key, KEEP_HOLD) end
    end
  end
end

for i = 1, #messages do
  if messages[i][1] == 'N' then answers[i] = {count[HELD], count[STARTED]} end
end

if booked_here then call('PEXPIRE', P .. 'books', KEEP_HOLD) end
if #wakes > 0 then call('PUBLISH', P .. 'room', pack(wakes)) end
call('SET', P .. 'clock', pack({now, serial, count[HELD], count[STARTED], second_held, second_started, era, quiet_until}), 'PX', KEEP_HOLD)
return pack({now, answers, events, wakes, softs, serial})
