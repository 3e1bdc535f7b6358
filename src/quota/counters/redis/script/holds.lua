-- Holds: read, started and ended, and taken off what they had reserved.

local expire

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

-- The values of a text, however many.
local function values_of(written)
  if #written <= AT_A_TIME then return {decode(written)} end
  local values, at = {}, 0
  while at ~= -1 do
    local piece = {unpack_limit(written, AT_A_TIME, at)}
    at = piece[1]
    for i = 2, #piece do values[#values + 1] = piece[i] end
  end
  return values
end

-- What the holds of a caller's kind share; nothing where it was never told. The first hold of a kind brings it along.
local function read_binding(name, raw)
  local b = raw and {raw = raw}
  if b then
    local _, lines = unpack_limit(raw, 1)
    b.lines = values_of(lines)
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
    if deadline <= now and not (h.progress and now < quiet_until) then
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
    -- What was too late for any window holds nothing there.
    if c and amounts[i] then
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
