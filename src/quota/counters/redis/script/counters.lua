-- Counters: read, begun, charged with what was spent, and written.

local function next_serial()
  serial = serial + 1
  return serial
end

-- Whole numbers as text: the same few in every turn.
local texts = {}
local function text(number)
  local t = texts[number]
  if not t then
    t = format('%d', number)
    texts[number] = t
  end
  return t
end

-- How so many doubles are read and written.
local formats = {}
local function format_of(count)
  local known = formats[count]
  if not known then
    known = '<' .. rep('d', count)
    formats[count] = known
  end
  return known
end

-- What does not have this form is no counter.
local function read_counter(kind, raw)
  if #raw < 24 or #raw % 8 ~= 0 or (kind == SPEND and #raw ~= 104) then return false end
  if kind == SPEND then
    local epoch, wait, hi, lo, held, passed, soft_hi, soft_lo, generation, from, to, of, noted =
      undoubles('<ddddddddddddd', raw)
    return {epoch, wait, hi ~= NOTHING and hi, lo, held, passed, soft_hi ~= NOTHING and soft_hi, soft_lo, generation,
      from ~= NOTHING and from, to ~= NOTHING and to, of, noted}
  end
  local c = {undoubles(format_of(#raw / 8), raw)}
  -- After the doubles comes where the next one would be.
  c[#c] = nil
  return c
end

local function written(kind, c)
  if kind == SPEND then
    return doubles('<ddddddddddddd', c[1], c[2], c[3] or NOTHING, c[4], c[5], c[6], c[7] or NOTHING, c[8], c[9],
      c[10] or NOTHING, c[11] or NOTHING, c[12], c[13])
  end
  return doubles(format_of(#c), unpack(c))
end

-- What is spent on a budget is to be loaded again, by whoever asks for it next; what is held stays.
local function unload(name, c)
  c[3], c[4], c[9], c[12], c[13] = false, 0, next_serial(), era, NOT_NOTED
  dirty[name] = true
end

local function keep(name, raw)
  local c = false
  if raw then
    local kind = byte(name)
    c = read_counter(kind, raw)
    if c and (kind == REQUESTS or kind == TOKENS) then
      advance(c)
    elseif c and kind == SPEND and c[12] ~= era then
      unload(name, c)
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
    c = {next_serial(), 0, false, 0, 0, 0, false, 0, next_serial(), from or false, to or false, era, NOT_NOTED}
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

-- Notes what is spent on a budget while it is loaded: whoever loads it may have seen the record or not, and finds out.
local function note(name, c, record, hi, lo)
  if c[13] == NOT_NOTED then return end
  if c[13] >= NOTED then return unload(name, c) end
  local key = P .. 'n:' .. text(c[9])
  call('RPUSH', key, record .. doubles('<dd', hi, lo))
  call('PEXPIRE', key, KEEP_UNSEEDED)
  c[13] = c[13] + 1
  dirty[name] = true
end

-- Adds what a record costs to its accounts.
local function spend(accounts, record, hi, lo)
  for i = 1, #accounts do
    local name = accounts[i]
    local c = counter(name)
    if c then
      if c[3] == false then
        note(name, c, record, hi, lo)
      else
        local nanos = c[4] + lo
        c[3] = c[3] + hi + floor(nanos / GIGA)
        c[4] = nanos % GIGA
        dirty[name] = true
        if passes_soft(c) then
          softs[#softs + 1] = {name, c[7], c[8], c[3], c[4]}
        end
      end
      if hi < 0 then wake(name, c) end
    end
  end
end

local function unload_all(accounts)
  for i = 1, #accounts do
    local c = counter(accounts[i])
    if c then unload(accounts[i], c) end
  end
end
