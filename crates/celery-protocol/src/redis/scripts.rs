//! Lua scripts. Each is an atomic step.
//!
//! All get their keys by `KEYS`, so that a `global_keyprefix` and a cluster's checks work. Time is Redis's own, so that the
//! clocks of workers need not agree.

/// Takes messages and records them as unacknowledged in the same step. kombu pops first and records in a second round trip; a
/// crash between the two loses the message. A message that cannot be recorded (`unacked` of another type, a command not
/// allowed) returns to its place, because a script that fails undoes nothing.
///
/// `KEYS`: the lists, most urgent first, then `unacked_index` and `unacked`. `ARGV`: how many at most, the common
/// prefix of the delivery tags, the text behind an envelope in `unacked`, how many bytes may be returned, the largest envelope returned.
/// Returns triples of tag, size in bytes, and envelope (empty when too large). Stops early before it returns too much.
pub const TAKE: &str = r"
local lists = #KEYS - 2
local index, unacked = KEYS[lists + 1], KEYS[lists + 2]
local want, room, largest = tonumber(ARGV[1]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])
local taken, bytes = {}, 0
local function failed(reply) return type(reply) == 'table' and reply.err end
for list = 1, lists do
  while #taken < want and bytes < room do
    local envelope = redis.call('RPOP', KEYS[list])
    if not envelope then break end
    local tag = ARGV[2] .. (#taken + 1)
    local noted = redis.pcall('ZADD', index, now, tag)
    if not failed(noted) then noted = redis.pcall('HSET', unacked, tag, '[' .. envelope .. ARGV[3]) end
    if failed(noted) then
      redis.call('RPUSH', KEYS[list], envelope)
      redis.pcall('ZREM', index, tag)
      if #taken > 0 then return taken end
      return noted
    end
    local size = #envelope
    if size > largest then envelope = '' end
    bytes = bytes + #envelope
    taken[#taken + 1] = {tag, size, envelope}
  end
end
return taken
";

/// Takes messages without a record: replies, which need no acknowledgement.
///
/// `KEYS`: the lists. `ARGV`: how many at most, the largest envelope returned (a larger one is dropped).
pub const TAKE_FOR_GOOD: &str = r"
local taken = {}
for list = 1, #KEYS do
  while #taken < tonumber(ARGV[1]) do
    local envelope = redis.call('RPOP', KEYS[list])
    if not envelope then break end
    if #envelope <= tonumber(ARGV[2]) then taken[#taken + 1] = envelope end
  end
end
return taken
";

/// Acknowledges. `KEYS`: `unacked_index`, `unacked`. `ARGV`: tags, some thousands at most. Returns the places in `ARGV`,
/// counted from 1, of those that were no longer ours.
pub const ACK: &str = r"
redis.call('ZREM', KEYS[1], unpack(ARGV))
local gone = {}
for at, tag in ipairs(ARGV) do
  if redis.call('HDEL', KEYS[2], tag) == 0 then gone[#gone + 1] = at end
end
return gone
";

/// Renews the tags of messages that are still worked on. A message that another worker has requeued stays requeued.
///
/// `KEYS`: `unacked_index`. `ARGV`: tags. Returns how many still exist.
pub const REFRESH: &str = r"
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])
local kept = 0
for _, tag in ipairs(ARGV) do
  if redis.call('ZSCORE', KEYS[1], tag) then
    redis.call('ZADD', KEYS[1], 'XX', now, tag)
    kept = kept + 1
  end
end
return kept
";

/// Finds messages that were not acknowledged in time, unless another worker does.
///
/// `KEYS`: `unacked_index`, `unacked`, `unacked_mutex`. `ARGV`: our token, the mutex's life in milliseconds, the visibility
/// timeout in seconds, the lease in seconds, the prefix of tags that their worker renews (without a renewal in a lease the worker is
/// dead), how many to return. Returns tags and their messages, in turn, oldest first; with any, it holds the mutex.
pub const DUE: &str = r"
if not redis.call('SET', KEYS[3], ARGV[1], 'NX', 'PX', ARGV[2]) then return {} end
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local old, leased = now - tonumber(ARGV[3]), now - tonumber(ARGV[4])
local due = {}
local seen = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', math.max(old, leased), 'WITHSCORES', 'LIMIT', 0, 1000)
for at = 1, #seen, 2 do
  local tag, since = seen[at], tonumber(seen[at + 1])
  local ours = string.sub(tag, 1, #ARGV[5]) == ARGV[5]
  if (ours and since <= leased) or (not ours and since <= old) then
    local held = redis.call('HGET', KEYS[2], tag)
    if held then
      due[#due + 1] = tag
      due[#due + 1] = held
    else
      redis.call('ZREM', KEYS[1], tag)
    end
  end
  if #due >= 2 * tonumber(ARGV[6]) then break end
end
if #due == 0 then redis.call('DEL', KEYS[3]) end
return due
";

/// Releases the mutex, unless another worker holds it by now. `KEYS`: `unacked_mutex`. `ARGV`: our token.
pub const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
";

/// Requeues messages in one step. Each only if it is still unacknowledged and, with an age, was not renewed since: so that of
/// several workers only one succeeds, and none takes a message that is being worked on. A message that its list does not take
/// stays in `unacked` and does not hold up the others.
///
/// `KEYS`: `unacked_index`, `unacked`, then one list per message. `ARGV`: the least age in seconds (`0` for any), which end
/// (`RPUSH` runs next, `LPUSH` last), then a tag and an envelope per message. Returns how many were requeued, or the last
/// error if none was.
pub const RESTORE: &str = r"
local time = redis.call('TIME')
local until_ = tonumber(time[1]) + tonumber(time[2]) / 1000000 - tonumber(ARGV[1])
local restored, failure = 0, nil
-- A full Redis lets a script go on that has written before, and what goes back takes no more room than it did.
redis.call('ZREM', KEYS[1], '')
for at = 3, #KEYS do
  local tag, envelope = ARGV[2 * at - 3], ARGV[2 * at - 2]
  local since = redis.call('ZSCORE', KEYS[1], tag)
  if not since or tonumber(since) <= until_ then
    local pushed = 0
    if redis.call('HEXISTS', KEYS[2], tag) == 1 then pushed = redis.pcall(ARGV[2], KEYS[at], envelope) end
    if type(pushed) == 'table' and pushed.err then
      failure = pushed
    else
      redis.call('ZREM', KEYS[1], tag)
      restored = restored + redis.call('HDEL', KEYS[2], tag)
    end
  end
end
if restored == 0 and failure then return failure end
return restored
";

/// Publishes to a queue through the default exchange.
///
/// `KEYS`: the list, the queue's lists, the bindings of the exchange of its name. `ARGV`: envelope, the queue's own binding,
/// `1` if the queue must be known, and the seconds after which a list of an undeclared queue is deleted (`0` for never).
/// Returns the list's length, or 0 if the queue is unknown.
pub const PUSH: &str = r"
local known = redis.call('SISMEMBER', KEYS[#KEYS], ARGV[2]) == 1
for at = 2, #KEYS - 1 do
  known = known or redis.call('EXISTS', KEYS[at]) == 1
end
if ARGV[3] == '1' and not known then return 0 end
local length = redis.call('LPUSH', KEYS[1], ARGV[1])
if ARGV[4] ~= '0' and not known then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
return length
";

/// Binds a transient queue as kombu 5.7 does: the exchange's deadline only moves forward.
///
/// `KEYS`: bindings, deadlines. `ARGV`: the binding, the exchange, milliseconds from now.
pub const BIND_FOR_A_WHILE: &str = r"
redis.call('SADD', KEYS[1], ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return redis.call('ZADD', KEYS[2], 'GT', now + tonumber(ARGV[3]), ARGV[2])
";

/// Stores a result and announces it, unless the task has succeeded before: a second run, or a late report of the first, must
/// not undo a result that a client may have seen.
///
/// `KEYS`: the result. `ARGV`: its text, seconds to keep it (`0` for ever). Returns 1 if it was stored.
pub const STORE: &str = r#"
local before = redis.call('GET', KEYS[1])
if before then
  local status = string.match(before, '^{"status": ?"([^"\\]*)"')
  if not status then
    local read, meta = pcall(cjson.decode, before)
    if read and type(meta) == 'table' then status = meta.status end
  end
  if status == 'SUCCESS' then return 0 end
end
if ARGV[2] == '0' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"#;

/// Adds a finished member to its chord. With the last member at most one caller gets the claim: it has to publish the body and
/// then to run [`CHORD_DONE`]. A claim that is not renewed expires, so a crash in between loses nothing: the member is delivered
/// again and claims again.
///
/// `KEYS`: members, total diff, size, seen, group, claim. `ARGV`: task id, member, index, seconds to keep, seconds of the
/// claim, token, `1` to keep the members in the order of the chord and `0` to keep a list in the order they end in; the
/// first caller decides. Returns `{-1, 0, 0}` for a chord that is done; else how many members there are, then 0 while some
/// are missing, 1 if the claim is ours, 2 if another worker holds it, and then `1` if they are kept in order.
pub const CHORD_PART: &str = r"
if redis.call('GET', KEYS[6]) == 'done' then return {-1, 0, 0} end
local kind = redis.call('TYPE', KEYS[1]).ok
local ordered = kind == 'zset' or (kind ~= 'list' and ARGV[7] == '1')
if redis.call('SADD', KEYS[4], ARGV[1] .. ':' .. ARGV[3]) == 1 then
  if ordered then
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
  else
    redis.call('RPUSH', KEYS[1], ARGV[2])
  end
end
if ARGV[4] ~= '0' then
  for at = 1, 5 do redis.call('EXPIRE', KEYS[at], ARGV[4]) end
end
local count = redis.call(ordered and 'ZCARD' or 'LLEN', KEYS[1])
local told = ordered and 1 or 0
local size = redis.call('GET', KEYS[3])
if not size or count < tonumber(size) + tonumber(redis.call('GET', KEYS[2]) or 0) then return {count, 0, told} end
local holder = redis.call('GET', KEYS[6])
if holder == ARGV[6] then
  redis.call('EXPIRE', KEYS[6], ARGV[5])
elseif holder or not redis.call('SET', KEYS[6], ARGV[6], 'NX', 'EX', ARGV[5]) then
  return {count, 2, told}
end
return {count, 1, told}
";

/// Renews a claim. `KEYS`: claim, size. `ARGV`: token, seconds. Returns 1 while it is ours.
pub const CHORD_RENEW: &str = r"
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then return redis.call('EXPIRE', KEYS[1], ARGV[2]) end
if holder or redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
";

/// Ends a chord whose body is published, and marks it as done. `KEYS`: claim, members, total diff, size, seen. `ARGV`:
/// token, seconds of the mark. Returns 1 if the claim was ours.
pub const CHORD_DONE: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('SET', KEYS[1], 'done', 'EX', ARGV[2])
return 1
";

/// Releases a claim, for another worker to try. `KEYS`: claim. `ARGV`: token.
pub const CHORD_GIVE_UP: &str = RELEASE;
