//! Who is connected to one service, and who goes when there is no room.
//!
//! Invariant: nobody's connections are another's wait. Where room is short, one that is idle goes:
//! of whoever holds most connections, first those that never said anything, then the one that has
//! been quiet longest; never for somebody who holds more. One in whose name something is under way
//! goes only for somebody who holds fewer, when that one has nothing idle, or where the service
//! says that even those may go once they are quiet for long. Nobody's only connection goes for
//! one that the system would not even let in: what is short then may be nobody's here, and the
//! place of one that is served would be given to another for nothing. Whoever was told to go and
//! does not holds up nobody.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Milliseconds within which one that was told to leave leaves, as a rule.
const LEAVES_WITHIN: u64 = 500;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// A user of this machine, as the kernel says.
    User(u32),
    /// Whoever is at this address.
    Address(IpAddr),
    /// The system would not say.
    Unknown,
}

/// What the clients of one service may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The service, as the log calls it.
    pub name: &'static str,
    /// Connections at once.
    pub connections: usize,
    /// How long one lives at most.
    pub life: Option<Duration>,
    /// Even one in whose name something is under way may go, once it has been quiet for so long.
    pub busy_may_go: Option<Duration>,
}

/// The connections of one service, however many ways lead to it. Clones share them.
#[derive(Clone)]
pub struct Crowd(Arc<Shared>);

struct Shared {
    limits: Limits,
    begun: Instant,
    seats: Mutex<Seats>,
    left: Notify,
}

#[derive(Default)]
struct Seats {
    next: u64,
    taken: HashMap<u64, Arc<Seat>>,
}

struct Seat {
    who: Who,
    /// Milliseconds since the crowd began.
    heard: AtomicU64,
    spoke: AtomicBool,
    busy: AtomicU32,
    leaves: AtomicBool,
    /// Milliseconds since the crowd began: when it was told to leave.
    told_at: AtomicU64,
    told: Notify,
}

/// One that was told to leave.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Evicted {
    /// Whose it was.
    pub who: Who,
    /// How many that one held.
    pub held: usize,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared {
            limits,
            begun: Instant::now(),
            seats: Mutex::default(),
            left: Notify::new(),
        }))
    }

    /// A place for one more, if there is room.
    pub(super) fn enter(&self, who: Who) -> Option<Place> {
        let now = self.now();
        let mut seats = self.seats();
        if seats.taken.len() >= self.0.limits.connections.max(1) {
            return None;
        }
        let id = seats.next;
        seats.next += 1;
        let seat = Arc::new(Seat {
            who,
            heard: AtomicU64::new(now),
            spoke: AtomicBool::new(false),
            busy: AtomicU32::new(0),
            leaves: AtomicBool::new(false),
            told_at: AtomicU64::new(0),
            told: Notify::new(),
        });
        seats.taken.insert(id, seat.clone());
        Some(Place {
            id,
            seat,
            crowd: self.clone(),
        })
    }

    /// What they may hold.
    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.seats().taken.len()
    }

    /// Tells one to leave for `newcomer`, if any may go. `None` is one that could not be let in,
    /// so that nobody knows whose it is.
    pub(super) fn make_room(&self, newcomer: Option<Who>) -> Option<Evicted> {
        let now = self.now();
        let seats = self.seats();
        let mut held: HashMap<Who, usize> = HashMap::new();
        for seat in seats.taken.values() {
            *held.entry(seat.who).or_default() += 1;
        }
        let own = newcomer.map_or(1, |who| held.get(&who).copied().unwrap_or(0));
        let leaves = |seat: &Seat| seat.leaves.load(Ordering::Relaxed);
        let is_on_its_way = |seat: &Arc<Seat>| {
            let told_at = seat.told_at.load(Ordering::Relaxed);
            leaves(seat) && now.saturating_sub(told_at) < LEAVES_WITHIN
        };
        if seats.taken.values().any(is_on_its_way) {
            // That is the room.
            return None;
        }
        let quiet = |seat: &Seat| now.saturating_sub(seat.heard.load(Ordering::Relaxed));
        let is_idle = |seat: &Seat| seat.busy.load(Ordering::Relaxed) == 0;
        let may_go = |seat: &Seat| {
            let holds = held[&seat.who];
            let is_fair = match newcomer {
                Some(who) => seat.who == who || holds >= own,
                None => holds > own,
            };
            let is_overdue = (self.0.limits.busy_may_go)
                .is_some_and(|limit| u128::from(quiet(seat)) >= limit.as_millis());
            let is_free = is_idle(seat) || is_overdue || holds > own + 1;
            !leaves(seat) && is_fair && is_free
        };
        let goes = (seats.taken.values())
            .filter(|seat| may_go(seat))
            .max_by_key(|seat| {
                let is_silent = !seat.spoke.load(Ordering::Relaxed);
                (held[&seat.who], is_idle(seat), is_silent, quiet(seat))
            })?;
        goes.leaves.store(true, Ordering::Relaxed);
        goes.told_at.store(now, Ordering::Relaxed);
        goes.told.notify_waiters();
        Some(Evicted {
            who: goes.who,
            held: held[&goes.who],
        })
    }

    /// Resolves when one has left since this was called.
    pub(super) async fn one_leaves(&self) {
        self.0.left.notified().await;
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.0.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; it is free again when this is dropped.
pub struct Place {
    id: u64,
    seat: Arc<Seat>,
    crowd: Crowd,
}

impl Place {
    /// Whose it is.
    pub fn who(&self) -> Who {
        self.seat.who
    }

    /// The client said something, or took something.
    pub fn heard(&self) {
        self.seat.heard.store(self.crowd.now(), Ordering::Relaxed);
        self.seat.spoke.store(true, Ordering::Relaxed);
    }

    /// Something is under way in its name until the value is dropped.
    pub fn busy(self: &Arc<Self>) -> Busy {
        self.seat.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Resolves when it has to leave.
    pub async fn must_leave(&self) {
        loop {
            let told = self.seat.told.notified();
            tokio::pin!(told);
            // Registered before the look, or a word between the two would be missed.
            told.as_mut().enable();
            if self.seat.leaves.load(Ordering::Relaxed) {
                return;
            }
            told.await;
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a connection of {:?}", self.seat.who)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.seats().taken.remove(&self.id);
        self.crowd.0.left.notify_one();
    }
}

/// Something is under way.
pub struct Busy(Arc<Place>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.heard();
        self.0.seat.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        name: "the socket",
        connections: 6,
        life: None,
        busy_may_go: None,
    };

    fn second() -> Duration {
        Duration::from_secs(1)
    }

    /// Six, a second apart: users 1, 2, 1, 2, 1, 1.
    async fn six(limits: Limits) -> (Crowd, Vec<Arc<Place>>) {
        let crowd = Crowd::new(limits);
        let mut places = Vec::new();
        for user in [1, 2, 1, 2, 1, 1] {
            places.push(Arc::new(crowd.enter(Who::User(user)).expect("room")));
            tokio::time::advance(second()).await;
        }
        assert!(crowd.enter(Who::User(3)).is_none());
        (crowd, places)
    }

    async fn leaves(place: &Place) -> bool {
        let told = tokio::time::timeout(second(), place.must_leave());
        told.await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_quietest_of_whoever_holds_most_goes_and_only_one_at_a_time() {
        let (crowd, mut places) = six(LIMITS).await;
        // The oldest has something under way, the next of that user spoke a moment ago.
        let busy = places[0].busy();
        places[2].heard();
        let gone = crowd
            .make_room(Some(Who::User(3)))
            .expect("one that may go");
        assert_eq!((gone.who, gone.held), (Who::User(1), 4));
        assert_eq!(
            crowd.make_room(Some(Who::User(3))),
            None,
            "that one is on its way"
        );
        assert!(leaves(&places[4]).await);
        assert!(!leaves(&places[5]).await && !leaves(&places[1]).await);
        // It takes its time: that holds up nobody.
        assert!(crowd.make_room(Some(Who::User(3))).is_some());
        places[5].seat.leaves.store(false, Ordering::Relaxed);
        drop(places.remove(4));
        assert_eq!(crowd.len(), 5);
        crowd.one_leaves().await;
        let newcomer = crowd.enter(Who::User(3)).expect("room");
        let mut next = || {
            let gone = crowd
                .make_room(Some(Who::User(3)))
                .expect("one that may go");
            let leaves = |place: &Arc<Place>| place.seat.leaves.load(Ordering::Relaxed);
            let at = places.iter().position(leaves).expect("one that leaves");
            drop(places.remove(at));
            (gone.who, gone.held)
        };
        // The last silent one of user 1; of two that hold two the one with a silent one; then the
        // one that spoke, for the other has something under way.
        assert_eq!(next(), (Who::User(1), 3));
        assert_eq!(next(), (Who::User(2), 2));
        assert_eq!(next(), (Who::User(1), 2));
        drop((busy, newcomer));
    }

    #[tokio::test(start_paused = true)]
    async fn nobodys_only_connection_goes_for_one_that_could_not_be_let_in() {
        let crowd = Crowd::new(LIMITS);
        let only = Arc::new(crowd.enter(Who::User(1)).expect("room"));
        only.heard();
        tokio::time::advance(second() * 60).await;
        assert_eq!(crowd.make_room(None), None);
        let more = Arc::new(crowd.enter(Who::User(1)).expect("room"));
        let gone = crowd.make_room(None).expect("one of two");
        assert_eq!((gone.who, gone.held), (Who::User(1), 2));
        assert!(leaves(&more).await, "the one that never said anything");
        assert!(!leaves(&only).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_something_under_way_stays_unless_it_is_quiet_for_long() {
        let (crowd, places) = six(LIMITS).await;
        let busy: Vec<_> = places.iter().map(Place::busy).collect();
        assert_eq!(crowd.make_room(Some(Who::User(1))), None);
        // User 2 holds two and user 1 four: one of these goes for the other, busy or not.
        let gone = crowd
            .make_room(Some(Who::User(2)))
            .expect("one of those who hold most");
        assert_eq!(gone.who, Who::User(1));
        drop(busy);
        let limits = Limits {
            busy_may_go: Some(Duration::from_secs(30)),
            ..LIMITS
        };
        let (crowd, places) = six(limits).await;
        let mut busy: Vec<_> = places.iter().map(Place::busy).collect();
        assert_eq!(crowd.make_room(Some(Who::User(1))), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        drop(busy.remove(3));
        // Its own, for the other holds less.
        assert_eq!(
            crowd.make_room(Some(Who::User(1))).expect("one").who,
            Who::User(1)
        );
    }
}
