-- Sends what the table in the file of the first argument says, and checks every answer.
-- wrk gives each thread a state of its own; only done() sees them all.

local threads = {}

-- Lua's own clocks count whole seconds, or CPU.
local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long us; } moment; int gettimeofday(moment *, void *);")
local moment = ffi.new("moment")

function setup(thread)
  thread:set("place", #threads)
  table.insert(threads, thread)
end

function init(args)
  plan = dofile(args[1])
  requests = {}
  for path, body in plan.requests:gmatch("(%S+) ([^\n]*)\n") do
    table.insert(requests, { path = path, body = body })
  end
  if plan.turns then delay = until_turn end
  right, wrong, first_wrong = 0, 0, ""
  turn = place * plan.stride
  if plan.chain then token = plan.chain.tokens[place + 1] end
end

-- How many milliseconds wrk waits before a request.
function until_turn()
  ffi.C.gettimeofday(moment, nil)
  local clock, it = tonumber(moment.s) + tonumber(moment.us) / 1e6, plan.turns
  local cycle = it.of * it.seconds
  local into = (clock - it.place * it.seconds) % cycle
  return into <= it.seconds * it.used and 0 or math.ceil((cycle - into) * 1000)
end

function request()
  if plan.chain then
    return wrk.format(plan.method, requests[1].path, plan.headers, plan.chain.before .. token)
  end
  local asked = requests[turn % #requests + 1]
  turn = turn + 1
  return wrk.format(plan.method, asked.path, plan.headers, asked.body)
end

function response(status, headers, body)
  for _, answer in ipairs(plan.right) do
    local text = body
    if answer.header then
      text = headers[answer.header] or headers[answer.header:lower()] or ""
    end
    if status == answer.status and text:find(answer.text, 1, true) then
      right = right + 1
      if plan.chain then
        token = body:match('"refresh_token": ?"([^"]+)"') or "missing"
      end
      return
    end
  end
  wrong = wrong + 1
  if first_wrong == "" then
    first_wrong = status .. " " .. (headers["location"] or "") .. " " .. body:sub(1, 200)
  end
end

function done(summary, latency, requests)
  local right, wrong, first_wrong = 0, 0, ""
  for _, thread in ipairs(threads) do
    right = right + thread:get("right")
    wrong = wrong + thread:get("wrong")
    if first_wrong == "" then first_wrong = thread:get("first_wrong") end
  end
  local errors = summary.errors
  local facts = {
    right, wrong, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    (first_wrong:gsub("%s+", " ")),
  }
  print("\nRESULT " .. table.concat(facts, " "))
end
