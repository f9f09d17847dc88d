use std::sync::Arc;
use std::time::Duration;

use super::{Asks, MAX_WAITING, OWNER_BYTES, PAGE_BYTES, Pace, Room, Rooms, SMALL_BYTES, Shared};
use crate::error::ServiceError;

const SHORT: Duration = Duration::from_millis(20);
const A: Asks<'_> = Asks::Account("a");
const B: Asks<'_> = Asks::Account("b");
const C: Asks<'_> = Asks::Account("c");

/// As in a region, but shorter.
const LITTLE_PATIENCE: Duration = Duration::from_millis(200);
const GRACE: Duration = Duration::from_millis(300);
const FAIR_TIME: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(2);

fn quick() -> Rooms {
    let pace = Pace { grace: GRACE, fair_time: FAIR_TIME, look_again: SHORT };
    Rooms { shared: Arc::new(Shared { pace, ..Shared::default() }) }
}

/// An answer that nobody reads.
fn stuck(room: Room) -> super::Kept<Vec<u8>> {
    room.keep(vec![0; 10])
}

fn is_there(kept: &super::Kept<Vec<u8>>) -> bool {
    kept.with(|_| ()).is_some()
}

#[tokio::test]
async fn an_account_waits_for_itself_and_not_for_others() {
    let rooms = Rooms::default();
    let first = rooms.take(A, PAGE_BYTES, SHORT).await.unwrap();
    assert!(matches!(rooms.take(A, PAGE_BYTES, SHORT).await, Err(ServiceError::TooManyLargeAnswers)));
    let others = rooms.take(B, PAGE_BYTES, SHORT).await.unwrap();
    assert!(rooms.take(C, PAGE_BYTES, SHORT).await.is_err(), "the region has room for two");
    let small = rooms.take(A, SMALL_BYTES, SHORT).await.unwrap();
    drop(first);
    let again = rooms.take(A, PAGE_BYTES * 9, SHORT).await.unwrap();
    drop((others, small, again));
    assert!(super::lock(&rooms.shared.table).answers.is_empty());
    drop(rooms.take(C, PAGE_BYTES, SHORT).await.unwrap());
    drop(rooms.take(B, PAGE_BYTES, SHORT).await.unwrap());
    let table = super::lock(&rooms.shared.table);
    assert!(table.served.len() <= 1 && table.waiting.is_empty(), "owners without answers are forgotten");
}

/// A caller that waits for much room does not block one that needs little.
#[tokio::test]
async fn small_ones_pass_a_large_one_that_waits() {
    let rooms = Arc::new(Rooms::default());
    let _of_a = rooms.take(A, PAGE_BYTES, SHORT).await.unwrap();
    let _of_b = rooms.take(B, PAGE_BYTES / 2, SHORT).await.unwrap();
    let large = tokio::spawn({
        let rooms = Arc::clone(&rooms);
        async move { rooms.take(C, PAGE_BYTES, Duration::from_secs(1)).await.is_ok() }
    });
    tokio::time::sleep(SHORT).await;
    rooms.take(B, PAGE_BYTES / 4, SHORT).await.unwrap();
    assert!(!large.await.unwrap());
}

/// Two accounts that hold all the room, and ask again and again, keep a third one out for a few seconds only.
#[tokio::test]
async fn nobody_is_kept_out_for_long() {
    let rooms = Arc::new(quick());
    let mut greedy = Vec::new();
    for number in 0..40 {
        let rooms = Arc::clone(&rooms);
        greedy.push(tokio::spawn(async move {
            loop {
                if let Ok(room) = rooms.take(if number % 2 == 0 { A } else { B }, PAGE_BYTES, PATIENCE).await {
                    let kept = stuck(room);
                    while is_there(&kept) {
                        tokio::time::sleep(SHORT).await;
                    }
                }
            }
        }));
    }
    tokio::time::sleep(PATIENCE).await;
    let hurried = rooms.take(C, PAGE_BYTES, LITTLE_PATIENCE).await;
    assert!(hurried.is_err(), "nobody is cut off for those with another way");
    for _ in 0..5 {
        let kept = stuck(rooms.take(C, PAGE_BYTES, PATIENCE).await.unwrap());
        tokio::time::sleep(FAIR_TIME / 2).await;
        assert!(is_there(&kept), "it has its time");
    }
    greedy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn the_oldest_is_cut_off_where_the_share_is_full_and_nobody_when_that_would_not_do() {
    let rooms = quick();
    let half = OWNER_BYTES / 2;
    let being_made = rooms.take(A, half, SHORT).await.unwrap();
    let other = stuck(rooms.take(B, PAGE_BYTES, SHORT).await.unwrap());
    let sent = stuck(rooms.take(A, half, SHORT).await.unwrap());
    tokio::time::sleep(FAIR_TIME).await;
    assert!(rooms.take(A, PAGE_BYTES, PATIENCE).await.is_err());
    assert!(is_there(&sent), "without the one that is being made there is not enough");
    let begun = tokio::time::Instant::now();
    let more = rooms.take(A, half, PATIENCE).await.unwrap();
    assert!(begun.elapsed() >= GRACE && !is_there(&sent) && is_there(&other));
    drop((being_made, more));
}

#[tokio::test]
async fn so_many_of_one_owner_wait_and_no_more() {
    let rooms = Rooms::default();
    let _first = rooms.take(A, PAGE_BYTES, SHORT).await.unwrap();
    let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(rooms.take(A, PAGE_BYTES, GRACE))).collect();
    for one in &mut waiting {
        assert!(futures::poll!(one).is_pending());
    }
    assert!(matches!(futures::poll!(Box::pin(rooms.take(A, PAGE_BYTES, GRACE))), std::task::Poll::Ready(Err(_))));
    assert!(rooms.take(B, PAGE_BYTES, SHORT).await.is_ok());
}

#[tokio::test]
async fn an_answer_grows_as_far_as_there_is_room() {
    let rooms = Rooms::default();
    let mut room = Room::default();
    assert!(rooms.grow(&mut room, A, SMALL_BYTES) && room.place.is_none());
    assert!(rooms.grow(&mut room, A, PAGE_BYTES / 2));
    assert!(rooms.grow(&mut room, A, PAGE_BYTES / 4), "it has more already");
    let _other = rooms.take(A, PAGE_BYTES / 4, SHORT).await.unwrap();
    assert!(!rooms.grow(&mut room, A, PAGE_BYTES));
    assert!(rooms.grow(&mut room, A, PAGE_BYTES / 4 * 3));
}

/// A waiting caller holds nothing of what it has read.
#[tokio::test]
async fn what_finds_no_room_is_let_go_and_read_again() {
    let rooms = Arc::new(Rooms::default());
    let first = rooms.take(A, PAGE_BYTES, SHORT).await.unwrap();
    let content = Arc::new(());
    let reading = tokio::spawn({
        let (rooms, content) = (Arc::clone(&rooms), Arc::clone(&content));
        async move {
            let read = || async { Ok(Arc::clone(&content)) };
            rooms.read(A, PATIENCE, read, |_| PAGE_BYTES).await.is_ok()
        }
    });
    tokio::time::sleep(SHORT).await;
    assert_eq!(Arc::strong_count(&content), 2, "one here, one that is copied from");
    drop(first);
    assert!(reading.await.unwrap());
}
