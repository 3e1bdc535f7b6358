-- Holds whose time is over.

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
      unload_all(h.accounts)
    else
      spend(h.accounts, id .. FIRST, floor(booked[3] / GIGA), booked[3] % GIGA)
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
    local key = P .. kind .. text(second)
    local listed = call('LRANGE', key, '0', text(most - 1))
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
