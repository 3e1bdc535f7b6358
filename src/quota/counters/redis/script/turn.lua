-- The turn: what is needed is read, each message is done, and what changed is written.

local second_held, second_started

-- Everything it will need is read at once: the clock, and after it the counters of these names.
local heads, last, names, keys = {}, #said, {}, {P .. 'clock'}
do
  local asked, bindings, holds, new = {}, {}, {}, {}
  local function want(name)
    if C[name] == nil and name ~= '' then
      local n = #names + 1
      C[name], names[n], keys[n + 1] = false, name, P .. 'c:' .. name
    end
  end
  for i = 1, #said[2] do
    local head = head_of(said[2][i])
    heads[i] = head
    local name = head.binding
    if #name ~= 16 then
      if B[name] == nil then read_binding(name, name) end
    elseif head.told then
      read_binding(name, head.told)
    elseif B[name] == nil then
      B[name] = false
      local n = #asked + 1
      asked[n], bindings[n] = name, P .. 'b:' .. name
    end
  end
  if #asked > 0 then
    local found = call('MGET', unpack(bindings))
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
  local at = 3
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
  local found = call('MGET', unpack(keys, 1, min(4000, #keys)))
  for first = 4001, #keys, 4000 do
    local part = call('MGET', unpack(keys, first, min(first + 3999, #keys)))
    for i = 1, #part do found[first + i - 1] = part[i] end
  end
  second_held, second_started = floor(now / 1000), floor(now / 1000)
  if found[1] and #found[1] == 64 then
    local before, known, least = 0, 0, tonumber(ARGV[5])
    before, known, waiting, running, second_held, second_started, era, quiet_until = undoubles('<dddddddd', found[1])
    -- Where there are replicas one of them speaks every second.
    if now - before > LATE and call('ZCOUNT', P .. 'replicas', '-inf', '+inf') > 0 then quiet_until = now + QUIET end
    -- It counts on by ones, never with the clock: a replica that was silent lately must not hide a loss from the others.
    if known < least then
      serial = max(serial, least + 1)
      era = serial
    else
      serial = known + 1
    end
    now = max(now, before)
  else
    era, quiet_until = serial, now + LATE
  end
  bucket = floor(now / BUCKET)
  read_holds(holds)
  -- Hardly ever is one that is to be admitted known.
  if #new > 0 then
    now_text, until_text = text(now), text(now + UNTIL_START)
    local remembered = {}
    for i = 1, #new do remembered[i] = P .. 'h:' .. new[i] end
    local open, ended = call('HMGET', P .. 'o', unpack(new)), call('EXISTS', unpack(remembered))
    local known = {}
    for i = 1, #new do
      if (open[i] or ended > 0) and not H[new[i]] then known[#known + 1] = new[i] end
    end
    read_holds(known)
  end
  for i = 1, #names do keep(names[i], found[i + 1]) end
end

second_held = expire_due(HELD, 'd:h:', second_held)
if now >= quiet_until then second_started = expire_due(STARTED, 'd:s:', second_started) end

local asked_how_many = {}
do
  local at = 3
  while at <= last do
    local m = said[at]
    local head = heads[m]
    if head then
      admit(head, at)
      at = at + 3 + head.count
    else
      say(answer_to(m))
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

local function write_counter(name, key)
  local c = C[name]
  local kind, life = byte(name), KEEP_COUNTER
  if kind == REQUESTS or kind == TOKENS then
    life = KEEP_WINDOW
  elseif kind == SPEND and c[3] == false and c[5] == 0 then
    life = KEEP_UNSEEDED
  end
  call('SET', key, written(kind, c), 'PX', life)
end
for i = 1, #names do
  local name = names[i]
  if dirty[name] then
    dirty[name] = nil
    write_counter(name, keys[i + 1])
  end
end
for name in pairs(dirty) do write_counter(name, P .. 'c:' .. name) end

local function list(key, ids)
  for first = 1, #ids, 4000 do
    local length = call('RPUSH', key, unpack(ids, first, min(first + 3999, #ids)))
    if length == #ids then call('PEXPIRE', key, KEEP_HOLD) end
  end
end
if opens > 0 then list(P .. 'd:h:' .. text(floor((now + UNTIL_START) / 1000)), awaiting) end
for second, ids in pairs(due) do list(P .. 'd:s:' .. text(second), ids) end

for i = 1, #asked_how_many do answers[asked_how_many[i]] = {waiting, running} end

if booked_here then call('PEXPIRE', P .. 'books', KEEP_HOLD) end
if #wakes > 0 then call('PUBLISH', P .. 'room', pack(wakes)) end
local clock = doubles('<dddddddd', now, serial, waiting, running, second_held, second_started, era, quiet_until)
call('SET', P .. 'clock', clock, 'PX', KEEP_HOLD)
return pack({now, answers, events, wakes, softs, serial})
