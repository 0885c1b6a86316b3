//! Bounds the bytes of buffered responses, in total and for each connection.
//!
//! Capacity is reserved before bytes are buffered, and released when their last copy is dropped. If no
//! capacity is free, a response is not read further, and fails after [`RESERVE_TIMEOUT`]. Short and long
//! responses have separate partitions of the budget, so that long responses whose clients do not read
//! never delay a short one. A long response reserves all the capacity that it may need at once, so that
//! no two responses wait for each other.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Memory;

/// The capacity for all buffered responses of the process.
#[derive(Debug)]
pub struct ResponseBudget {
    total: Capacity,
    /// The KiB that the long responses of one connection may use.
    per_connection: u32,
    memory: Memory,
}

/// The part of the budget that one connection may use.
#[derive(Clone, Debug)]
pub struct Share(Arc<ShareInner>);

#[derive(Debug)]
struct ShareInner {
    own: Capacity,
    budget: Arc<ResponseBudget>,
}

/// Capacity for short and for long responses.
#[derive(Debug)]
struct Capacity {
    short: Partition,
    long: Partition,
}

/// A number of KiB that responses reserve.
#[derive(Clone, Debug)]
struct Partition {
    free: Arc<Semaphore>,
    size: u32,
}

/// Capacity that is reserved until this is dropped.
#[derive(Debug)]
struct CapacityReservation {
    own: OwnedSemaphorePermit,
    total: OwnedSemaphorePermit,
}

/// No capacity was free within [`RESERVE_TIMEOUT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many responses are buffered for slow clients (limits.buffered)")]
pub struct Exhausted;

/// Why a body was not read to its end.
#[derive(Debug)]
pub enum ReadError<E> {
    /// It is longer than this limit in bytes.
    TooLarge(usize),
    Exhausted(Exhausted),
    Body(E),
}

/// A response that is read into memory.
#[derive(Debug)]
pub struct Buffer {
    share: Share,
    /// How many times the response is in memory, because it is converted to other forms.
    copies: usize,
    /// The maximum number of bytes to read.
    limit: usize,
    /// Whether `limit` is the length of the response.
    is_length_known: bool,
    /// When this is cancelled, a long response may reserve capacity.
    turn: Option<CancellationToken>,
    reservation: Option<CapacityReservation>,
    /// The number of bytes for which capacity is reserved.
    reserved: usize,
    buffered: BytesMut,
}

/// Bytes with their reservation.
struct ReservedBytes<T> {
    bytes: T,
    _reservation: Option<CapacityReservation>,
}

/// How long a response waits for capacity. With the default of `timeouts.write`, a client that does
/// not read is disconnected earlier, which releases its capacity.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The maximum size of a short response with its copies, in bytes.
const MAX_SHORT: usize = 64 * 1024;
/// Short responses may use a quarter of the total budget.
const SHORT_DIVISOR: u32 = 4;
/// The short responses of one connection may use this fraction of what its long responses may use.
const CONNECTION_SHORT_DIVISOR: u32 = 32;

// === impl ResponseBudget ===

impl ResponseBudget {
    /// Allows `total` bytes, and at most `per_connection` bytes for the long responses of one
    /// connection. A response that needs more than that reserves all of it, so that it fits when no
    /// other response is buffered.
    pub fn new(total: usize, per_connection: usize, memory: Memory) -> Arc<Self> {
        let total = kib(total).max(2 * kib(MAX_SHORT));
        let short = (total / SHORT_DIVISOR).max(kib(MAX_SHORT));
        Arc::new(Self {
            total: Capacity::new(short, total - short),
            per_connection: kib(per_connection),
            memory,
        })
    }

    /// Returns the share of a new connection.
    pub fn share(self: &Arc<Self>) -> Share {
        let long = self.per_connection.min(self.total.long.size);
        let short = (self.per_connection / CONNECTION_SHORT_DIVISOR).max(kib(MAX_SHORT));
        Share(Arc::new(ShareInner {
            own: Capacity::new(short.min(self.total.short.size), long),
            budget: Arc::clone(self),
        }))
    }
}

// === impl Share ===

impl Share {
    async fn reserve(&self, bytes: usize) -> Result<CapacityReservation, Exhausted> {
        let ShareInner { own, budget } = self.0.as_ref();
        let (own, total) = if bytes <= MAX_SHORT {
            (&own.short, &budget.total.short)
        } else {
            (&own.long, &budget.total.long)
        };
        let size = kib(bytes);
        let reserved = async {
            Ok(CapacityReservation {
                own: own.reserve(size).await?,
                total: total.reserve(size.min(own.size)).await?,
            })
        };
        timeout(RESERVE_TIMEOUT, reserved)
            .await
            .unwrap_or(Err(Exhausted))
    }
}

impl Capacity {
    fn new(short: u32, long: u32) -> Self {
        Self {
            short: Partition::new(short),
            long: Partition::new(long),
        }
    }
}

impl Partition {
    fn new(size: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(size as usize)),
            size,
        }
    }

    /// Reserves `size` KiB, or all of the partition if it is smaller.
    async fn reserve(&self, size: u32) -> Result<OwnedSemaphorePermit, Exhausted> {
        let free = Arc::clone(&self.free);
        let reserved = free.acquire_many_owned(size.clamp(1, self.size)).await;
        reserved.map_err(|_| Exhausted)
    }
}

impl CapacityReservation {
    /// Releases what exceeds `bytes`.
    fn shrink_to(&mut self, bytes: usize) {
        for permit in [&mut self.own, &mut self.total] {
            let excess = permit.num_permits().saturating_sub(kib(bytes) as usize);
            drop(permit.split(excess));
        }
    }
}

// === impl Buffer ===

impl Buffer {
    /// Returns a buffer that reserves capacity in `share` for `copies` of the response.
    pub fn new(share: &Share, copies: usize) -> Self {
        Self {
            share: share.clone(),
            copies,
            limit: MAX_SHORT,
            is_length_known: false,
            turn: None,
            reservation: None,
            reserved: 0,
            buffered: BytesMut::new(),
        }
    }

    /// Delays the reservation of a long response until `turn` is cancelled, so that responses reserve
    /// capacity in the order in which they are sent on.
    pub fn after(mut self, turn: CancellationToken) -> Self {
        self.turn = Some(turn);
        self
    }

    /// Declares that at most `limit` bytes will be read, and exactly `length` if it is known.
    pub fn set_limit(&mut self, limit: usize, length: Option<u64>) {
        let length = length.and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= limit);
        self.is_length_known = length.is_some();
        self.limit = length.unwrap_or(limit);
    }

    /// Buffers `piece` as soon as there is capacity for it.
    ///
    /// # Errors
    /// When no capacity becomes free in time, or memory is short.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), Exhausted> {
        let length = self.buffered.len() + piece.len();
        let is_memory_short = self.share.0.budget.memory.is_short_after(piece.len());
        if is_memory_short && length.saturating_mul(self.copies) > MAX_SHORT {
            return Err(Exhausted);
        }
        if length > self.reserved {
            self.reserve(length).await?;
        }
        self.buffered.extend_from_slice(piece);
        Ok(())
    }

    /// Reserves capacity for a short response, or, if `length` exceeds that, for the whole limit.
    async fn reserve(&mut self, length: usize) -> Result<(), Exhausted> {
        let short = MAX_SHORT / self.copies;
        let size = if length <= short && !self.is_length_known {
            short.min(self.limit.max(length))
        } else {
            self.limit.max(length)
        };
        let bytes = size.saturating_mul(self.copies);
        if bytes > MAX_SHORT
            && let Some(turn) = self.turn.take()
        {
            turn.cancelled().await;
        }
        let reservation = self.share.reserve(bytes).await?;
        self.reservation = Some(reservation);
        self.reserved = size;
        Ok(())
    }

    /// Reads `body` to its end, at most `limit` bytes.
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
        self.set_limit(limit, hint.exact());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(ReadError::Body)?;
            let Some(piece) = frame.data_ref() else {
                continue;
            };
            if self.buffered.len() + piece.len() > limit {
                return Err(ReadError::TooLarge(limit));
            }
            self.push(piece).await.map_err(ReadError::Exhausted)?;
        }
        Ok(())
    }

    /// Adds the last piece without reserving capacity, because it is sent on at once.
    pub fn append(&mut self, piece: &[u8]) {
        self.buffered.extend_from_slice(piece);
    }

    /// Returns the buffered bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffered
    }

    /// Returns the buffered bytes with their reservation.
    pub fn finish(mut self) -> Bytes {
        let buffered = std::mem::take(&mut self.buffered);
        let copies = self.copies;
        self.finish_with(buffered, copies)
    }

    /// Replaces the buffered bytes by `bytes`, and returns them with a reservation for one copy.
    pub fn replace(self, bytes: Bytes) -> Bytes {
        self.finish_with(bytes, 1)
    }

    fn finish_with<T>(self, bytes: T, copies: usize) -> Bytes
    where
        T: AsRef<[u8]> + Send + 'static,
    {
        let mut reservation = self.reservation;
        if let Some(reservation) = &mut reservation {
            reservation.shrink_to(bytes.as_ref().len().saturating_mul(copies));
        }
        let reserved = ReservedBytes {
            bytes,
            _reservation: reservation,
        };
        if reserved.as_ref().is_empty() {
            Bytes::new()
        } else {
            Bytes::from_owner(reserved)
        }
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for ReservedBytes<T> {
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

    fn budget(total: usize, per_connection: usize) -> Arc<ResponseBudget> {
        ResponseBudget::new(total, per_connection, Memory::new(MemoryLimit::Off))
    }

    /// Returns the free KiB for short and for long responses.
    fn free(budget: &ResponseBudget) -> (usize, usize) {
        let Capacity { short, long } = &budget.total;
        (
            short.free.available_permits(),
            long.free.available_permits(),
        )
    }

    /// Buffers a response of `size` bytes, in pieces.
    async fn read(share: &Share, size: usize) -> Result<Bytes, Exhausted> {
        let mut buffer = Buffer::new(share, 1);
        buffer.set_limit(16 * MIB, None);
        let piece = vec![b'x'; size.min(16 * 1024)];
        for _ in 0..size / piece.len() {
            buffer.push(&piece).await?;
        }
        Ok(buffer.finish())
    }

    #[tokio::test]
    async fn capacity_is_released_with_the_last_copy_of_the_bytes() {
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
    async fn connection_cannot_exceed_its_share() {
        let budget = budget(40 * MIB, 16 * MIB);
        let (greedy, other) = (budget.share(), budget.share());
        let held = read(&greedy, 12 * MIB).await.unwrap();
        assert_eq!(read(&greedy, 12 * MIB).await, Err(Exhausted));
        // Its short responses have capacity of their own.
        let short = read(&greedy, 4096).await.unwrap();
        let others = read(&other, 12 * MIB).await.unwrap();
        drop(held);
        let again = read(&greedy, 12 * MIB).await.unwrap();
        drop((short, others, again));
        assert_eq!(free(&budget), (10 * 1024, 30 * 1024));
    }

    #[tokio::test(start_paused = true)]
    async fn response_waits_until_capacity_is_free() {
        let budget = budget(16 * MIB, 16 * MIB);
        let first = read(&budget.share(), 10 * MIB).await.unwrap();
        let share = budget.share();
        let waiting = async {
            let started = tokio::time::Instant::now();
            read(&share, 10 * MIB).await.unwrap();
            assert_eq!(started.elapsed(), Duration::from_secs(5));
        };
        let freeing = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(first);
        };
        tokio::join!(waiting, freeing);
    }

    #[tokio::test]
    async fn response_larger_than_the_budget_reserves_all_of_it() {
        let budget = budget(4 * MIB, MIB);
        let share = budget.share();
        let bytes = read(&share, 16 * MIB).await.unwrap();
        assert_eq!(bytes.len(), 16 * MIB);
        assert_eq!(free(&budget).1, 2048);
        drop(bytes);
        assert_eq!(free(&budget).1, 3072);
    }
}
