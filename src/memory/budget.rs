//! Bounds the bytes of buffered responses, in total and for each connection.
//!
//! Capacity is reserved before bytes are buffered, and released when their last copy is dropped. A
//! response without capacity is not read further, and fails after [`PATIENCE`]. Short and long
//! responses have separate parts of the budget, so that long ones whose clients do not read never
//! delay a short one. A long response reserves all that it may need at once, so that no two wait for
//! each other.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Memory;

/// The capacity for all responses of the process.
#[derive(Debug)]
pub struct Budget {
    whole: Room,
    /// KiB for the long responses of one connection.
    of_a_connection: u32,
    memory: Memory,
}

/// One connection's part of the budget.
#[derive(Clone, Debug)]
pub struct Share(Arc<OfConnection>);

#[derive(Debug)]
struct OfConnection {
    own: Room,
    budget: Arc<Budget>,
}

/// Free capacity in KiB.
#[derive(Debug)]
struct Room {
    short: Part,
    long: Part,
}

#[derive(Clone, Debug)]
struct Part {
    free: Arc<Semaphore>,
    size: u32,
}

/// Capacity that is reserved until this is dropped.
#[derive(Debug)]
struct Hold {
    own: OwnedSemaphorePermit,
    whole: OwnedSemaphorePermit,
}

/// No capacity was free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many responses are buffered for slow clients (limits.buffered)")]
pub struct Exhausted;

/// Why a body was not read to its end.
#[derive(Debug)]
pub enum ReadError<E> {
    /// It is longer than this.
    TooLarge(usize),
    Exhausted(Exhausted),
    Body(E),
}

/// A response that is read into memory.
#[derive(Debug)]
pub struct Buffer {
    share: Share,
    /// How many bytes are held for each byte of the response: copies in other forms.
    weight: usize,
    /// The most that is read.
    bound: usize,
    /// The bound is the response's length.
    is_announced: bool,
    /// A long response waits for it before it reserves capacity.
    turn: Option<CancellationToken>,
    hold: Option<Hold>,
    /// How many bytes are reserved.
    room: usize,
    read: BytesMut,
}

/// Bytes with their reserved capacity.
struct Counted<T> {
    bytes: T,
    _hold: Option<Hold>,
}

/// How long a response waits for capacity. With the default of `timeouts.write`, a client that does
/// not read is closed earlier, which releases its capacity.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest short response, with its copies.
const SHORT: usize = 64 * 1024;
/// The fraction of the total, and of a connection's share, for short responses.
const OF_SHORT: u32 = 4;
const OF_SHORT_OF_A_CONNECTION: u32 = 32;

impl Budget {
    /// Allows `total` bytes, and at most `of_a_connection` for the long responses of one connection. A
    /// response that needs more reserves all of it, so that it always fits when it is the only one.
    pub fn new(total: usize, of_a_connection: usize, memory: Memory) -> Arc<Self> {
        let total = kib(total).max(2 * kib(SHORT));
        let short = (total / OF_SHORT).max(kib(SHORT));
        Arc::new(Self {
            whole: Room::new(short, total - short),
            of_a_connection: kib(of_a_connection),
            memory,
        })
    }

    /// Returns the share of a new connection.
    pub fn share(self: &Arc<Self>) -> Share {
        let long = self.of_a_connection.min(self.whole.long.size);
        let short = (self.of_a_connection / OF_SHORT_OF_A_CONNECTION).max(kib(SHORT));
        Share(Arc::new(OfConnection {
            own: Room::new(short.min(self.whole.short.size), long),
            budget: Arc::clone(self),
        }))
    }
}

impl Share {
    async fn take(&self, bytes: usize) -> Result<Hold, Exhausted> {
        let OfConnection { own, budget } = self.0.as_ref();
        let (own, whole) = if bytes <= SHORT {
            (&own.short, &budget.whole.short)
        } else {
            (&own.long, &budget.whole.long)
        };
        let wanted = kib(bytes);
        let taken = async {
            Ok(Hold {
                own: own.take(wanted).await?,
                whole: whole.take(wanted.min(own.size)).await?,
            })
        };
        timeout(PATIENCE, taken).await.unwrap_or(Err(Exhausted))
    }
}

impl Room {
    fn new(short: u32, long: u32) -> Self {
        Self {
            short: Part::new(short),
            long: Part::new(long),
        }
    }
}

impl Part {
    fn new(size: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(size as usize)),
            size,
        }
    }

    async fn take(&self, wanted: u32) -> Result<OwnedSemaphorePermit, Exhausted> {
        let free = Arc::clone(&self.free);
        let taken = free.acquire_many_owned(wanted.clamp(1, self.size)).await;
        taken.map_err(|_| Exhausted)
    }
}

impl Hold {
    fn shrink(&mut self, bytes: usize) {
        for permit in [&mut self.own, &mut self.whole] {
            let rest = permit.num_permits().saturating_sub(kib(bytes) as usize);
            drop(permit.split(rest));
        }
    }
}

impl Buffer {
    /// Returns a buffer for a response to a client of `share`.
    pub fn new(share: &Share, weight: usize) -> Self {
        Self {
            share: share.clone(),
            weight,
            bound: SHORT,
            is_announced: false,
            turn: None,
            hold: None,
            room: 0,
            read: BytesMut::new(),
        }
    }

    /// Makes a long response reserve capacity only when `turn` is cancelled, after those before it.
    pub fn after(mut self, turn: CancellationToken) -> Self {
        self.turn = Some(turn);
        self
    }

    /// Sets that at most `bound` bytes will be read, and exactly `length` where that is known.
    pub fn permit(&mut self, bound: usize, length: Option<u64>) {
        let length = length.and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= bound);
        self.is_announced = length.is_some();
        self.bound = length.unwrap_or(bound);
    }

    /// Buffers `piece` as soon as there is capacity for it.
    ///
    /// # Errors
    /// When there is none in time, or memory is short.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), Exhausted> {
        let length = self.read.len() + piece.len();
        let is_short_of_memory = self.share.0.budget.memory.is_short_after(piece.len());
        if is_short_of_memory && length.saturating_mul(self.weight) > SHORT {
            return Err(Exhausted);
        }
        if length > self.room {
            self.make_room(length).await?;
        }
        self.read.extend_from_slice(piece);
        Ok(())
    }

    async fn make_room(&mut self, length: usize) -> Result<(), Exhausted> {
        let short = SHORT / self.weight;
        let wanted = if length <= short && !self.is_announced {
            short.min(self.bound.max(length))
        } else {
            self.bound.max(length)
        };
        let bytes = wanted.saturating_mul(self.weight);
        if bytes > SHORT
            && let Some(turn) = self.turn.take()
        {
            turn.cancelled().await;
        }
        let taken = self.share.take(bytes).await?;
        self.hold = Some(taken);
        self.room = wanted;
        Ok(())
    }

    /// Reads `body` to its end.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read<B>(&mut self, mut body: B, limit: usize) -> Result<(), ReadError<B::Error>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let hint = body.size_hint();
        if hint.lower() > limit as u64 {
            return Err(ReadError::TooLarge(limit));
        }
        self.permit(limit, hint.exact());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(ReadError::Body)?;
            let Some(piece) = frame.data_ref() else {
                continue;
            };
            if self.read.len() + piece.len() > limit {
                return Err(ReadError::TooLarge(limit));
            }
            self.push(piece).await.map_err(ReadError::Exhausted)?;
        }
        Ok(())
    }

    /// Adds the last piece without reserving capacity, because it is sent on at once.
    pub fn append(&mut self, piece: &[u8]) {
        self.read.extend_from_slice(piece);
    }

    /// Returns what has been read.
    pub fn bytes(&self) -> &[u8] {
        &self.read
    }

    /// Returns what has been read, with its reserved capacity.
    pub fn finish(mut self) -> Bytes {
        let read = std::mem::take(&mut self.read);
        let weight = self.weight;
        self.finish_with(read, weight)
    }

    /// Replaces what has been read by other bytes, with capacity for them.
    pub fn replace(self, bytes: Bytes) -> Bytes {
        self.finish_with(bytes, 1)
    }

    fn finish_with<T>(self, bytes: T, weight: usize) -> Bytes
    where
        T: AsRef<[u8]> + Send + 'static,
    {
        let mut hold = self.hold;
        if let Some(hold) = &mut hold {
            hold.shrink(bytes.as_ref().len().saturating_mul(weight));
        }
        let counted = Counted { bytes, _hold: hold };
        if counted.as_ref().is_empty() {
            Bytes::new()
        } else {
            Bytes::from_owner(counted)
        }
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Counted<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::MemoryLimit;
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn budget(total: usize, of_a_connection: usize) -> Arc<Budget> {
        Budget::new(total, of_a_connection, Memory::new(MemoryLimit::Off))
    }

    fn free(budget: &Budget) -> (usize, usize) {
        let Room { short, long } = &budget.whole;
        (
            short.free.available_permits(),
            long.free.available_permits(),
        )
    }

    /// An answer of `size` bytes, in pieces.
    async fn read(share: &Share, size: usize) -> Result<Bytes, Exhausted> {
        let mut buffer = Buffer::new(share, 1);
        buffer.permit(16 * MIB, None);
        let piece = vec![b'x'; size.min(16 * 1024)];
        for _ in 0..size / piece.len() {
            buffer.push(&piece).await?;
        }
        Ok(buffer.finish())
    }

    #[tokio::test]
    async fn bytes_give_their_room_back_with_their_last_copy() {
        let budget = budget(8 * MIB, 4 * MIB);
        let all = free(&budget);
        assert_eq!(all, (2048, 6144));
        let share = budget.share();
        let short = read(&share, 4096).await.unwrap();
        assert_eq!(free(&budget), (2044, 6144));
        let long = read(&share, MIB).await.unwrap();
        assert_eq!(free(&budget), (2044, 5120));
        let copy = long.slice(7..9);
        drop(long);
        assert_eq!(free(&budget), (2044, 5120));
        drop((copy, short));
        assert_eq!(free(&budget), all);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_no_more_than_its_share_and_others_have_theirs() {
        let budget = budget(40 * MIB, 16 * MIB);
        let (greedy, other) = (budget.share(), budget.share());
        let held = read(&greedy, 12 * MIB).await.unwrap();
        assert_eq!(read(&greedy, 12 * MIB).await, Err(Exhausted));
        // Its short ones have room of their own.
        let short = read(&greedy, 4096).await.unwrap();
        let others = read(&other, 12 * MIB).await.unwrap();
        drop(held);
        let again = read(&greedy, 12 * MIB).await.unwrap();
        drop((short, others, again));
        assert_eq!(free(&budget), (10 * 1024, 30 * 1024));
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_waits_until_there_is_some() {
        let budget = budget(16 * MIB, 16 * MIB);
        let first = read(&budget.share(), 10 * MIB).await.unwrap();
        let share = budget.share();
        let waiting = async {
            let begun = tokio::time::Instant::now();
            read(&share, 10 * MIB).await.unwrap();
            assert_eq!(begun.elapsed(), Duration::from_secs(5));
        };
        let freeing = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(first);
        };
        tokio::join!(waiting, freeing);
    }

    #[tokio::test]
    async fn an_answer_that_is_larger_than_the_budget_takes_all_of_it() {
        let budget = budget(4 * MIB, MIB);
        let share = budget.share();
        let bytes = read(&share, 16 * MIB).await.unwrap();
        assert_eq!(bytes.len(), 16 * MIB);
        assert_eq!(free(&budget).1, 2048);
        drop(bytes);
        assert_eq!(free(&budget).1, 3072);
    }
}
