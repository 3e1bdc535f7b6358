-- Sliding minutes: what was charged in the last sixty seconds, in buckets of five.

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
