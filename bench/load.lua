-- wrk: the documented certificate edit, each body different from the one before it, or the read; on random ids.
-- Arguments after `--`: edit or read, API key, first id, last id; then, where the ids are spread evenly over accounts, how
-- many there are: the keys are the key and the account's number, from 1.
local threads = 0

function setup(thread)
  thread:set("seed", threads)
  -- The second thread loads the other node, where there is one.
  local port = os.getenv("OTHER_NODE_PORT")
  if port and threads == 1 then
    thread.addr = wrk.lookup(wrk.host, port)[1]
  end
  threads = threads + 1
end

function init(args)
  request = args[1] == "edit" and edit or read
  first, last = tonumber(args[3]), tonumber(args[4])
  key, each = args[2], args[5] and (last - first + 1) / tonumber(args[5])
  math.randomseed(seed * 7919 + os.time())
  number = 0
  headers = {
    ["Authorization"] = "Bearer " .. args[2],
    ["Content-Type"] = "application/json",
  }
end

function any()
  local id = math.random(first, last)
  if each then
    headers["Authorization"] = string.format("Bearer %s%d", key, 1 + math.floor((id - first) / each))
  end
  return "/open-api/achievements/" .. id
end

function edit()
  number = number + 1
  local body = '{"course_begin_at":"2025-04-01T00:00:00Z","course_end_at":"2025-07-01T00:00:00Z",'
    .. '"expiration_date":"2026-04-01T00:00:00Z","admin_comment":"재발급 요청 ' .. seed .. "-" .. number
    .. '","level":' .. number .. "}"
  return wrk.format("PATCH", any(), headers, body)
end

function read()
  return wrk.format("GET", any(), headers)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"seconds":%.3f,"refused":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
