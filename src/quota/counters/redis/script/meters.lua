-- Meters: whether anybody watches the responses of a gateway.

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
