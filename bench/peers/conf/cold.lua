-- Asks for URLs with a skew: the few that are asked for most come first, and every one
-- of them is new to the cache at the start. The seed makes it the same for all servers.
local threads = 0

function setup(thread)
	thread:set("id", threads)
	threads = threads + 1
end

local paths = {}

function init(args)
	math.randomseed({{.Seed}} + id)
	for i = 0, {{.URLs}} - 1 do
		paths[i] = wrk.format("GET", "{{.Prefix}}" .. i)
	end
end

function request()
	return paths[math.floor({{.URLs}} * math.random() ^ 3)]
end
