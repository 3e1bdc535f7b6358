-- One turn of the counters of one shard: what waited at the same moment, judged and charged in the order it came, in one
-- atomic step. docs/holds.md says what each message does in each state; redis/places.rs, remote.rs and turns.rs write what is read here.
--
-- ARGV[1]  the prefix of every key of the shard; its hash tag is the shard's
-- ARGV[2]  the messages, one MessagePack list: first a list of heads, each what admissions have in common, {gateway, needs a
--          meter, how (JUDGE, CHARGE, CHARGE_LATE or 0: both), most open holds, binding, what it is | '', lines}; then of
--          each admission, without a list around it: the number of its head, hold, the hold as it is kept, an amount for
--          each line; and every other message as a list
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
--          o            a hash of all open holds: <hold> is when it was admitted (13 digits) and {gateway, in, out, cost,
--                       amounts, binding} token's end; p<hold> {deadline, in, out, cost}, once it started
--          h:<hold>     {state, until, booked | false}, once it ended
--          d:h:<second>, d:s:<second>  holds and their deadlines, not started and started, in the order of deadlines; one
--                       that ended or was renewed since is passed over
--          m:<gateway>  {last start, last probe | false, dead}
--          replicas     those alive, by when they last said so
--          books        a stream: what was booked and is not known to be in the directory

local P, call, pack, decode, unpack_limit = ARGV[1], redis.call, cmsgpack.pack, cmsgpack.unpack, cmsgpack.unpack_limit
local floor, max, min, byte, sub = math.floor, math.max, math.min, string.byte, string.sub
local said, stale_after, GIGA, EXACT = decode(ARGV[2]), tonumber(ARGV[3]), 1000000000, 9007199254740991
-- Whole dollars whose nanos a double tells exactly.
local FAR = 9000000

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
local BOTH, JUDGE, CHARGE, CHARGE_LATE = 0, 1, 2, 3

local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)
if ARGV[4] ~= '' then
  now = tonumber(ARGV[4])
elseif stale_after > 0 and now > stale_after then
  return pack({now})
end
local serial = time[1] * 1000000 + time[2]

-- What is known of counters, holds, meters and bindings; of a hold that was admitted in this turn just what is kept.
local C, dirty, H, M, B = {}, {}, {}, {}, {}
local era, quiet_until, booked_here, bucket = 0, 0, false, 0
-- Open holds that are not started, and that are; and those of them that are due, by second.
local waiting, running, due = 0, 0, {}
local events, wakes, softs = {}, {}, {}
-- Holds admitted in this turn, each followed by what is kept of it, how many entries that is, and other holds of which
-- something is to be written.
local opened, opens, touched = {}, 0, {}
-- What is kept of them begins with the first, and they are listed as waiting to be started with the second.
local now_text, until_text, awaiting = '', '', {}
-- Answers, one after the other, and how many values they are.
local answers, filled = {}, 0

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
  local number, n = bucket, #w
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
  if dollars > FAR then return EXACT end
  if dollars < -FAR then return -EXACT end
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

-- A hold is no longer in the state it was in.
local function leave(h)
  if h.state == HELD then waiting = max(0, waiting - 1) elseif h.state == STARTED then running = max(0, running - 1) end
end

local function finish(id, h, state, booked)
  local known = h and h.ended and h.known_until or now + REMEMBERED
  if h and not h.ended then
    leave(h)
    touched[#touched + 1] = id
  end
  H[id] = {ended = true, state = state, known_until = known, booked = booked}
  call('SET', P .. 'h:' .. id, pack({state, known, booked}), 'PX', max(1, known - now))
end

local function read_open(id, raw, progress)
  local h = {raw = raw, state = HELD}
  if progress then
    h.progress = decode(progress)
    h.state = STARTED
  end
  H[id] = h
end

local function read_ended(id, raw)
  local e = raw and decode(raw)
  H[id] = e and e[2] > now and {ended = true, state = e[1], known_until = e[2], booked = e[3]} or false
end

-- Reads holds, open or ended.
local function read_holds(ids)
  if #ids == 0 then return end
  local fields, ended, keys = {}, {}, {}
  for i = 1, #ids do
    fields[2 * i - 1] = ids[i]
    fields[2 * i] = 'p' .. ids[i]
  end
  local found = call('HMGET', P .. 'o', unpack(fields))
  for i = 1, #ids do
    if found[2 * i - 1] then
      read_open(ids[i], found[2 * i - 1], found[2 * i])
    else
      ended[#ended + 1] = ids[i]
      keys[#keys + 1] = P .. 'h:' .. ids[i]
    end
  end
  if #ended == 0 then return end
  found = call('MGET', unpack(keys))
  for i = 1, #ended do read_ended(ended[i], found[i]) end
end

-- What the holds of a caller's kind share; nothing where it was never told. The first hold of a kind brings it along.
local function read_binding(name, raw)
  local b = raw and {raw = raw}
  if b then
    local _
    _, b.lines = unpack_limit(raw, 1)
  end
  B[name] = b or false
  return b
end

local function binding(name)
  local b = B[name]
  if b == nil then b = read_binding(name, #name ~= 16 and name or call('GET', P .. 'b:' .. name)) end
  -- Its lines alone are what most turns need.
  if b and not b.names then
    local _
    _, b.names, b.accounts, b.token = decode(b.raw)
  end
  return b
end

-- The parts of an open hold that are not always needed.
local function whole(h)
  if not h.head then
    h.admitted = tonumber(sub(h.raw, 1, 13))
    local rest
    h.head, rest = decode(sub(h.raw, 14))
    local b = binding(h.head[6]) or {names = {}, accounts = {}, token = ''}
    h.names, h.accounts, h.token = b.names, b.accounts, b.token ~= '' and b.token .. rest or ''
  end
  return h
end

local function hold(id)
  local h = H[id]
  if h == nil then
    read_holds({id})
    h = H[id]
  elseif type(h) == 'string' then
    -- Admitted in this turn.
    h = {raw = h, state = HELD, unsaved = true}
    H[id] = h
    touched[#touched + 1] = id
  end
  if h and not h.ended then
    local deadline
    if h.progress then
      deadline = h.progress[1]
    else
      deadline = tonumber(sub(h.raw, 1, 13)) + UNTIL_START
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
  if h.state ~= STARTED then
    leave(h)
    running = running + 1
  end
  local second = floor(deadline / 1000)
  if not due[second] then due[second] = {} end
  due[second][#due[second] + 1] = id .. text(deadline)
  h.progress, h.state, h.deadline, h.ran = p, STARTED, deadline, true
  touched[#touched + 1] = id
  return p
end

local function expire_due(state, kind, second)
  local last, most, steps = floor(now / 1000), AT_ONCE, SECONDS
  while most > 0 and steps > 0 do
    local key = P .. kind .. second
    local listed = call('LRANGE', key, 0, most - 1)
    local taken, wanted, fields = 0, {}, {}
    for i = 1, #listed do
      if tonumber(sub(listed[i], 17)) > now then break end
      taken = i
      local id = sub(listed[i], 1, 16)
      if H[id] == nil then
        wanted[#wanted + 1] = id
        fields[#fields + 1] = id
        fields[#fields + 1] = 'p' .. id
      end
    end
    if #wanted > 0 then
      local found = call('HMGET', P .. 'o', unpack(fields))
      for i = 1, #wanted do
        if found[2 * i - 1] then read_open(wanted[i], found[2 * i - 1], found[2 * i]) end
      end
    end
    -- Whose time is over ends by being looked at; what is not open is over.
    for i = 1, taken do
      local id = sub(listed[i], 1, 16)
      if H[id] then hold(id) end
    end
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

-- One answer that is a value of its own.
local function say(answer)
  filled = filled + 1
  answers[filled] = answer
end

-- Answers what a counter stands at: of money whole dollars, nanos (-1: not loaded), what is held, whether its soft limit is
-- passed now; of all else what is used, and the ms until it is whole again.
local function standing(name, kind, c)
  local at = filled
  if kind == SPEND then
    if not c or c[3] == false then
      answers[at + 1], answers[at + 2], answers[at + 3], answers[at + 4] = 0, -1, 0, 0
    else
      local soft = 0
      if c[7] ~= false and passes_soft(c) then
        soft = 1
        dirty[name] = true
      end
      answers[at + 1], answers[at + 2], answers[at + 3], answers[at + 4] = c[3], c[4], c[5], soft
    end
    filled = at + 4
  else
    if not c then
      answers[at + 1], answers[at + 2] = 0, 0
    elseif kind == FLIGHT then
      answers[at + 1], answers[at + 2] = c[3], 0
    else
      answers[at + 1], answers[at + 2] = c[3], reset_of(c)
    end
    filled = at + 2
  end
end

-- What admissions of a turn have in common. A line of a binding is counter, limit (dollars and nanos, or 0 and an amount),
-- soft limit (dollars | false, nanos), start | false, end | false, repeated.
local function head_of(written)
  return {
    gateway = written[1], needs_meter = written[2], how = written[3], most = written[4], binding = written[5],
    told = written[6] ~= '' and written[6] or false, count = written[7],
    lines = false, in_time = nil, counters = nil, kinds = nil, dirty = false,
  }
end

-- Whether now is in the periods of all its lines.
local function in_time(head)
  if head.in_time == nil then
    local lines, is = head.lines, true
    for i = 1, #lines, 8 do
      if lines[i + 6] and (now < lines[i + 5] or now >= lines[i + 6]) then is = false end
    end
    head.in_time = is
  end
  return head.in_time
end

-- The counters of its lines. They stay the same tables throughout a turn.
local function counters_of(head)
  local lines, counters, kinds = head.lines, {}, {}
  for i = 1, head.count do
    local name = lines[8 * i - 7]
    counters[i] = counter(name) or fresh(name, lines[8 * i - 2], lines[8 * i - 1])
    kinds[i] = byte(name)
  end
  head.counters, head.kinds = counters, kinds
  return counters
end

-- Whether nothing is against an admission: the usual case, and the quickest look at it. `amounts` is the place before the
-- first of them.
local function fits(head, amounts)
  if waiting + running >= head.most then return false end
  if head.in_time ~= true and not in_time(head) then return false end
  if head.needs_meter then
    local watched = meter(head.gateway)
    if watched and watched[3] then return false end
  end
  local said, lines, counters, kinds, line = said, head.lines, head.counters or counters_of(head), head.kinds, 2
  for i = 1, head.count do
    local c = counters[i]
    if kinds[i] ~= SPEND then
      if c[3] + said[amounts + i] > lines[line + 1] then return false end
    else
      local spent = c[3]
      if spent == false then return false end
      local dollars = lines[line] - spent
      if dollars < -FAR or dollars <= FAR and c[5] + said[amounts + i] > dollars * GIGA + lines[line + 1] - c[4]
        or c[5] + said[amounts + i] > EXACT then return false end
    end
    line = line + 8
  end
  return true
end

-- What there is against an admission; nothing where it may be charged.
local function judge(head, amounts)
  local gateway, forced, lines = head.gateway, head.how >= CHARGE, head.lines
  if not forced then
    local open = waiting + running
    if open >= head.most then return {5, open} end
    if not in_time(head) then return {3} end
  end
  local watched = head.needs_meter and meter(gateway)
  if not forced and watched and watched[3] and watched[2] and now < watched[2] + PROBE then
    return {4, watched[2] + PROBE - now}
  end

  local unseeded, worst, worst_never, only_held = nil, nil, false, true
  local counters, kinds = head.counters or counters_of(head), head.kinds
  for at = 1, head.count do
    local i = 8 * at - 7
    local amount, kind, c = said[amounts + at], kinds[at], counters[at]
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

-- Of what was admitted before nothing is asked again.
local function admitted_before(head)
  say(0)
  for i = 1, #head.lines, 8 do
    local name = head.lines[i]
    standing(name, byte(name), counter(name))
  end
end

-- An admission, `at` the number of its head. Answers 0 and what each line stands at, without a list around it; or {1, line,
-- dollars, nanos, held, retry, never, only held, epoch}, {2, (line, generation)...}, {3}, {4, retry}, {5, open holds}, {6}
-- where the binding is not known and was not told, or {7} where it was only to be judged and nothing is against it.
local function admit(head, at)
  local id, amounts, how, lines = said[at + 1], at + 2, head.how, head.lines
  if not lines then return say({6}) end
  if head.told then
    call('SET', P .. 'b:' .. head.binding, head.told, 'PX', KEEP_BINDING)
    head.told = false
  end
  if how ~= JUDGE and H[id] and hold(id) then return admitted_before(head) end
  if how ~= BOTH or not fits(head, amounts) then
    local refused = judge(head, amounts)
    if refused then return say(refused) end
    if how == JUDGE then return say({7}) end
  end
  local n = opens
  local raw = now_text .. said[at + 2]
  waiting, opens, H[id], opened[n + 1], opened[n + 2] = waiting + 1, n + 2, raw, id, raw
  awaiting[n / 2 + 1] = id .. until_text

  -- As charge_window and standing do, which calls of them would cost half as much again.
  local said, answers, counters, kinds, line, to = said, answers, head.counters, head.kinds, 1, filled + 2
  answers[to - 1] = 0
  for i = 1, head.count do
    local c, what = counters[i], kinds[i]
    if what == SPEND then
      if not lines[line + 7] then
        c[5] = c[5] + said[amounts + i]
        c[7], c[8] = lines[line + 3], lines[line + 4]
      elseif lines[line + 3] then
        c[7], c[8] = lines[line + 3], lines[line + 4]
      end
      local soft = 0
      if c[3] == false then
        answers[to], answers[to + 1], answers[to + 2] = 0, -1, 0
      else
        if c[7] ~= false and passes_soft(c) then
          soft = 1
          dirty[lines[line]] = true
        end
        answers[to], answers[to + 1], answers[to + 2] = c[3], c[4], c[5]
      end
      answers[to + 3] = soft
      to = to + 4
    elseif what == FLIGHT then
      if not lines[line + 7] then c[3] = c[3] + said[amounts + i] end
      answers[to], answers[to + 1] = c[3], 0
      to = to + 2
    else
      -- What took place more than a minute ago is in no window any more.
      local amount = said[amounts + i]
      if amount > 0 and not lines[line + 7] and how ~= CHARGE_LATE then
        local n, sum = #c, c[3] + amount
        if n < 8 or c[n - 3] ~= bucket then
          c[n + 1], c[n + 2], c[n + 3], c[n + 4] = bucket, now, 0, 0
          n = n + 4
        end
        c[n - 2], c[n - 1], c[3] = now, c[n - 1] + amount, sum
        if what == TOKENS then c[n], c[4] = c[n] + amount, c[4] + amount end
        answers[to], answers[to + 1] = sum, MINUTE
      else
        answers[to], answers[to + 1] = c[3], reset_of(c)
      end
      to = to + 2
    end
    line = line + 8
  end
  filled = to - 1
  if not head.dirty then
    head.dirty = true
    for i = 1, #lines, 8 do
      if not lines[i + 7] then dirty[lines[i]] = true end
    end
  end
  if head.needs_meter then
    local watched = meter(head.gateway)
    if watched and watched[3] then put_meter(head.gateway, {watched[1], now, true}) end
  end
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
    touched[#touched + 1] = id
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
  S = start, R = renew, T = settle, L = release, D = seed, J = adjust, Q = query, B = budgets,
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
local heads, last = {}, #said
do
  local asked, names, holds, new, keys = {}, {}, {}, {}, {}
  local function want(name)
    if name ~= '' and C[name] == nil then
      C[name] = false
      names[#names + 1] = name
    end
  end
  for i = 1, #said[1] do
    local head = head_of(said[1][i])
    heads[i] = head
    local name = head.binding
    if #name ~= 16 then
      if B[name] == nil then read_binding(name, name) end
    elseif head.told then
      read_binding(name, head.told)
    elseif B[name] == nil then
      B[name] = false
      keys[#keys + 1] = P .. 'b:' .. name
      asked[#asked + 1] = name
    end
  end
  if #asked > 0 then
    local found = call('MGET', unpack(keys))
    for i = 1, #asked do if not B[asked[i]] then read_binding(asked[i], found[i]) end end
  end
  for i = 1, #heads do
    local head = heads[i]
    local b = B[head.binding]
    if b then
      local lines = b.lines
      head.lines = lines
      for line = 1, #lines, 8 do want(lines[line]) end
    end
  end
  keys = {P .. 'clock'}
  local at = 2
  while at <= last do
    local m = said[at]
    local head = heads[m]
    if head then
      new[#new + 1] = said[at + 1]
      at = at + 3 + head.count
    else
      local what, id = m[1], m[2]
      if what == 'D' or what == 'Q' then
        want(id)
      elseif (what == 'S' or what == 'R' or what == 'T' or what == 'L') and H[id] == nil then
        H[id] = false
        holds[#holds + 1] = id
      end
      at = at + 1
    end
  end
  for i = 1, #names do keys[i + 1] = P .. 'c:' .. names[i] end
  local found = {}
  for first = 1, #keys, 4000 do
    local part = call('MGET', unpack(keys, first, min(first + 3999, #keys)))
    for i = 1, #part do found[first + i - 1] = part[i] end
  end
  second_held, second_started = floor(now / 1000), floor(now / 1000)
  if found[1] then
    local clock = decode(found[1])
    waiting, running, second_held, second_started = clock[3], clock[4], clock[5], clock[6]
    era, quiet_until = clock[7], clock[8]
    if now - clock[1] > LATE then quiet_until = now + LATE end
    if clock[2] < tonumber(ARGV[5]) then era = serial end
    now, serial = max(now, clock[1]), max(serial, clock[2] + 1, tonumber(ARGV[5]) + 1)
  else
    era, quiet_until = serial, now + LATE
  end
  bucket = floor(now / BUCKET)
  now_text, until_text = text(now), text(now + UNTIL_START)
  read_holds(holds)
  -- Hardly ever is one that is to be admitted known.
  if #new > 0 then
    keys = {}
    for i = 1, #new do keys[i] = P .. 'h:' .. new[i] end
    local open, ended = call('HMGET', P .. 'o', unpack(new)), call('EXISTS', unpack(keys))
    local known = {}
    for i = 1, #new do
      if (open[i] or ended > 0) and not H[new[i]] then known[#known + 1] = new[i] end
    end
    read_holds(known)
  end
  for i = 1, #names do keep(names[i], found[i + 1]) end
end

second_held = expire_due(HELD, 'd:h:', second_held)
second_started = expire_due(STARTED, 'd:s:', second_started)

local asked_how_many = {}
do
  local at = 2
  while at <= last do
    local m = said[at]
    local head = heads[m]
    if head then
      admit(head, at)
      at = at + 3 + head.count
    else
      say(does[m[1]](m))
      if m[1] == 'N' then asked_how_many[#asked_how_many + 1] = filled end
      at = at + 1
    end
  end
end

-- Open holds are written together; those that are no longer what they were when they were admitted are among the touched.
do
  local fields, gone = {}, {}
  for i = 1, opens, 2 do
    if H[opened[i]] == opened[i + 1] then
      local n = #fields
      fields[n + 1], fields[n + 2] = opened[i], opened[i + 1]
    end
  end
  for i = 1, #touched do
    local id, n = touched[i], #fields
    local h = H[id]
    if not h or h.ended then
      gone[#gone + 1] = id
      gone[#gone + 1] = 'p' .. id
    elseif type(h) ~= 'string' then
      if h.unsaved then
        fields[n + 1], fields[n + 2] = id, h.raw
        h.unsaved, n = false, n + 2
      end
      if h.ran then
        fields[n + 1], fields[n + 2] = 'p' .. id, pack(h.progress)
        h.ran = false
      end
    end
  end
  for first = 1, #gone, 4000 do call('HDEL', P .. 'o', unpack(gone, first, min(first + 3999, #gone))) end
  for first = 1, #fields, 4000 do call('HSET', P .. 'o', unpack(fields, first, min(first + 3999, #fields))) end
  if #fields > 0 then call('PEXPIRE', P .. 'o', KEEP_HOLD) end
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

local function list(key, ids)
  for first = 1, #ids, 4000 do
    local length = call('RPUSH', key, unpack(ids, first, min(first + 3999, #ids)))
    if length == #ids then call('PEXPIRE', key, KEEP_HOLD) end
  end
end
list(P .. 'd:h:' .. floor((now + UNTIL_START) / 1000), awaiting)
for second, ids in pairs(due) do list(P .. 'd:s:' .. second, ids) end

for i = 1, #asked_how_many do answers[asked_how_many[i]] = {waiting, running} end

if booked_here then call('PEXPIRE', P .. 'books', KEEP_HOLD) end
if #wakes > 0 then call('PUBLISH', P .. 'room', pack(wakes)) end
call('SET', P .. 'clock', pack({now, serial, waiting, running, second_held, second_started, era, quiet_until}), 'PX', KEEP_HOLD)
return pack({now, answers, events, wakes, softs, serial})
