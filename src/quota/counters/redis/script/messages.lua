-- All other messages.

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

-- {'T', hold, tokens, dollars, nanos, forgotten, record | booked at, counters | false, amounts | false, accounts | false}.
-- The home of the hold is told the record first, and books it. The others are told when that was (ms), or 0 where nobody
-- knows. Answers {0, entry} applied, {1, in, out, cost, entry} corrected by what was booked before, {2} duplicate, {3} forgotten,
-- {4} where the counters and accounts are needed and were not sent.
local function settle(m)
  local id, tokens, hi, lo = m[2], m[3], m[4], m[5]
  local h = hold(id)
  local record = type(m[7]) == 'string' and m[7]
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
  if not record and (not h or h.ended or now - m[7] > JUST_NOW) then
    -- It is booked, and whoever loaded these budgets may have seen that or not.
    unload_all(accounts)
  else
    spend(accounts, id .. (booked and SECOND or FIRST), hi, lo)
  end
  finish(id, h, SETTLED, false)
  if record then
    answer[#answer + 1] = call('XADD', P .. 'books', '*', 'r', pack({record, booked or false}), 'w', ARGV[6])
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

-- Whether one of these records is of a hold that is open here: it is booked, and here it is still to be counted.
local function is_still_to_come(records)
  local length = 4000 * RECORD_NAME
  for first = 1, #records, length do
    local ids = {}
    for at = first, min(first + length, #records + 1) - RECORD_NAME, RECORD_NAME do
      ids[#ids + 1] = sub(records, at, at + 15)
    end
    local open = call('HMGET', P .. 'o', unpack(ids))
    for i = 1, #ids do
      -- One whose time is over ends by being looked at.
      local h = (open[i] or H[ids[i]]) and hold(ids[i])
      if h and not h.ended then return true end
    end
  end
  return false
end

-- {'D', counter, generation, dollars, nanos, noted | -1, records}: what is spent on a budget, with so many of what was noted
-- here in it, and with these records, of which some may be noted after those. Answers whether it is loaded now; or what is
-- noted, a list of records, each with dollars and nanos as doubles, where the books were read without knowing of it.
local function load(m)
  local name, generation, hi, lo, known, records = m[2], m[3], m[4], m[5], m[6], m[7]
  -- This comes first: a hold that ends may have this budget loaded again.
  local waits = records ~= '' and is_still_to_come(records)
  local c = counter(name)
  if not c then return false end
  if c[3] ~= false then return true end
  if waits or c[9] ~= generation or c[13] < known then return false end
  local noted = c[13] == 0 and {} or call('LRANGE', P .. 'n:' .. text(generation), '0', '-1')
  if #noted ~= c[13] then
    unload(name, c)
    return false
  end
  if known < 0 and #noted > 0 then return noted end
  local counted = {}
  for at = 1, #records, RECORD_NAME do counted[sub(records, at, at + RECORD_NAME - 1)] = true end
  for i = max(0, known) + 1, #noted do
    if not counted[sub(noted[i], 1, RECORD_NAME)] then
      local dollars, nanos = undoubles('<dd', noted[i], RECORD_NAME + 1)
      nanos = lo + nanos
      hi, lo = hi + dollars + floor(nanos / GIGA), nanos % GIGA
    end
  end
  c[3], c[4], c[13] = hi, lo, NOT_NOTED
  dirty[name] = true
  return true
end

-- {'J', accounts, dollars, nanos, record's name, record}. Answers the entry.
local function adjust(m)
  spend(m[2], m[5], m[3], m[4])
  booked_here = true
  return call('XADD', P .. 'books', '*', 'r', pack({m[6], false}), 'w', ARGV[6])
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

-- What a message is answered with that is no admission.
local function answer_to(m)
  local what = m[1]
  if what == 'S' then return start(m) end
  if what == 'T' then return settle(m) end
  if what == 'R' then return renew(m) end
  if what == 'L' then return release(m) end
  if what == 'D' then return load(m) end
  if what == 'J' then return adjust(m) end
  if what == 'Q' then return query(m) end
  if what == 'B' then return budgets(m) end
  -- {'X', accounts}: what is spent on them is loaded again.
  if what == 'X' then
    unload_all(m[2])
    return true
  end
  -- {'M', gateway, last start}: another shard saw this meter alive.
  if what == 'M' then
    local known = meter(m[2])
    if not known or not known[1] or known[1] < m[3] then put_meter(m[2], {m[3], false, false}) end
    return true
  end
  -- {'G', gateway}: whether its meter is known dead.
  if what == 'G' then
    local known = meter(m[2])
    return known and known[3] or false
  end
  -- {'H', replica}: it is alive. Answers how many are.
  if what == 'H' then
    call('ZADD', P .. 'replicas', now, m[2])
    call('ZREMRANGEBYSCORE', P .. 'replicas', '-inf', now - REMEMBERED)
    call('PEXPIRE', P .. 'replicas', KEEP_HOLD)
    return call('ZCOUNT', P .. 'replicas', now - ALIVE, '+inf')
  end
  -- {'O', replica}: it stops as it should.
  if what == 'O' then return call('ZREM', P .. 'replicas', m[2]) end
  -- {'N'}: open holds, not started and started. Answered when the turn is over.
  return {}
end
