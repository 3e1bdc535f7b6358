-- Admissions: judged, and charged where nothing is against it.

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
        if c[13] == NOT_NOTED then
          c[13] = 0
          dirty[lines[i]] = true
        end
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
