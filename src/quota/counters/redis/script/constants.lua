-- Constants. A function of Lua 5.1 pays for each name of another one that it uses, and pays again whenever it is made; so
-- script.rs puts these in their places (`<const>` is how Lua 5.4 says that a name never changes).

local GIGA <const>, EXACT <const> = 1000000000, 9007199254740991
-- Values that are read in one step: Lua has room for 8,000 that a function answers, and each takes a byte at least.
local AT_A_TIME <const> = 6000
-- What stands for false among doubles.
local NOTHING <const> = -1e300
-- Whole dollars whose nanos a double tells exactly.
local FAR <const> = 9000000

local MINUTE <const>, BUCKET <const> = 60000, 5000
local UNTIL_START <const>, UNTIL_RENEWAL <const>, REMEMBERED <const> = 30000, 45000, 600000
local ALIVE <const>, PROBE <const>, LATE <const> = 30000, 5000, 5000
-- After a silence of Redis itself: long enough for all replicas to renew their running streams, as they do every 15 s.
local QUIET <const> = 20000
-- How long ago a record may have been booked at its home that is told elsewhere as booked just now.
local JUST_NOW <const> = 5000
-- How long a refused caller may wait for room, generously.
local WAITS <const> = 60000
-- How long keys live, in ms; as text, which is what Redis makes of numbers at some cost.
local KEEP_HOLD <const>, KEEP_BINDING <const> = '604800000', '7200000'
local KEEP_COUNTER <const>, KEEP_WINDOW <const> = '10800000', '70000'
local KEEP_UNSEEDED <const>, KEEP_METER <const> = '60000', '3600000'
-- Holds whose time may be over, and seconds, that are looked at in one turn.
local AT_ONCE <const>, SECONDS <const> = 256, 2000
-- What is spent on a budget while it is loaded is noted so often, or not at all while nobody loads it.
local NOTED <const>, NOT_NOTED <const> = 10000, -1
-- The name of a record is its hold and its sequence, in four bytes: it is the first of that hold, or corrects it.
local RECORD_NAME <const> = 20
local FIRST <const>, SECOND <const> = '\0\0\0\0', '\0\0\0\1'
-- The first letters of counters: r, t, f, s.
local REQUESTS <const>, TOKENS <const>, FLIGHT <const>, SPEND <const> = 114, 116, 102, 115
local HELD <const>, STARTED <const>, SETTLED <const>, EXPIRED <const>, RELEASED <const> = 1, 2, 3, 4, 5
local GIVEN_BACK <const>, AS_HELD <const> = -1, -2
local BOTH <const>, JUDGE <const>, CHARGE <const>, CHARGE_LATE <const> = 0, 1, 2, 3
