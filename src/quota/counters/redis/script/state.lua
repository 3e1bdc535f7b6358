-- One turn of the counters of one shard: what waited at the same moment, judged and charged in the order it came, in one
-- atomic step. docs/holds.md says what each message does in each state; redis/places.rs, remote.rs and turns.rs write what is read here.
--
-- ARGV[1]  the prefix of every key of the shard; its hash tag is the shard's
-- ARGV[2]  the messages, MessagePack: first a list of heads, each what admissions have in common, {gateway, needs a
--          meter, how (JUDGE, CHARGE, CHARGE_LATE or 0: both), most open holds, binding, what it is | '', lines}; then of
--          each admission, without a list around it: the number of its head, hold, the hold as it is kept, an amount for
--          each line; and every other message as a list
-- ARGV[3]  the server's time in ms after which nobody waits for the answer: then nothing is done; 0 where it does not matter
-- ARGV[4]  the time in ms, where a test brings its own clock; else empty
-- ARGV[5]  the highest serial the asking replica has seen here: where less is known, something was lost
-- ARGV[6]  the name of the asking replica
--
-- Numbers are doubles, exact up to 2^53. Amounts of money that may be larger travel and rest as two numbers, whole
-- dollars and nano-dollars (0 to 999,999,999), so that no sum is ever rounded.
--
-- Counters and the clock rest as doubles one after the other, of the server's smaller end first: a list of MessagePack takes
-- several times as long to read and to write.
--
-- Keys     clock        {now, serial, held, started, second held, second started, era, quiet until}; time never goes back,
--                       and open holds were looked at up to these seconds. What is spent was loaded in this era, or
--                       must be loaded again: one begins when Redis has lost something
--          c:<counter>  its first letter is its kind:
--                       r, t  {epoch, wait, sum, held, (bucket, last, sum, held)...}   requests, tokens in 60 s
--                       f     {epoch, wait, held}                                       in flight
--                       s     {epoch, wait, dollars | false, nanos, held, passed, soft dollars | false, soft nanos,
--                              generation, start | false, end | false, era, noted}      money
--          n:<generation>  what was spent on a budget since somebody began to load it, so often as its counter says: the
--                       record's name, dollars and nanos as doubles
--          b:<binding>  a text with the lines one after the other, {counters} {accounts} token's beginning: what all holds of
--                       a caller's kind share. The first of a kind has it in place of its name
--          o            a hash of all open holds: <hold> is when it was admitted (13 digits) and {gateway, in, out, cost,
--                       amounts, binding} token's end; p<hold> {deadline, in, out, cost}, once it started
--          h:<hold>     {state, until, booked | false}, once it ended
--          d:h:<second>, d:s:<second>  holds and their deadlines, not started and started, in the order of deadlines; one
--                       that ended or was renewed since is passed over
--          m:<gateway>  {last start, last probe | false, dead}
--          replicas     those alive, by when they last said so
--          books        a stream: what was booked and is not known to be in the directory

local P, call, pack, decode, unpack_limit = ARGV[1], redis.call, cmsgpack.pack, cmsgpack.unpack, cmsgpack.unpack_limit
local floor, max, min = math.floor, math.max, math.min
local byte, sub, rep, format = string.byte, string.sub, string.rep, string.format
local doubles, undoubles = struct.pack, struct.unpack
local said, stale_after = {unpack_limit(ARGV[2], AT_A_TIME)}, tonumber(ARGV[3])
-- Before what was read stands where to go on.
while said[1] ~= -1 do
  local more = {unpack_limit(ARGV[2], AT_A_TIME, said[1])}
  said[1] = more[1]
  for i = 2, #more do said[#said + 1] = more[i] end
end

local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)
if ARGV[4] ~= '' then
  now = tonumber(ARGV[4])
elseif stale_after > 0 and now > stale_after then
  return pack({now})
end
local serial = time[1] * 1000000 + time[2]

-- What is known of counters, holds, meters and bindings; of a hold that was admitted in this turn just what is kept.
local C, dirty, H, M, B = {}, {}, {}, {}, {}
local era, quiet_until, booked_here, bucket = 0, 0, false, 0
-- Open holds that are not started, and that are; and those of them that are due, by second.
local waiting, running, due = 0, 0, {}
local events, wakes, softs = {}, {}, {}
-- Holds admitted in this turn, each followed by what is kept of it, how many entries that is, and other holds of which
-- something is to be written.
local opened, opens, touched = {}, 0, {}
-- What is kept of them begins with the first, and they are listed as waiting to be started with the second.
local now_text, until_text, awaiting = '', '', {}
-- Answers, one after the other, and how many values they are.
local answers, filled = {}, 0
