use super::{EACH_BYTES, Held, NoRoom, Room};

const KIB: usize = 1024;

/// 64 KiB in all, 16 KiB of one owner; bodies of 4 KiB with what each costs.
fn room() -> Room<&'static str> {
    Room::new(64 * KIB, 16 * KIB)
}

fn body(room: &Room<&'static str>, owner: &'static str) -> Result<Held<&'static str>, NoRoom> {
    let held = room.enter(owner)?;
    held.grow(4 * KIB - EACH_BYTES)?;
    Ok(held)
}

fn left(held: &Held<&'static str>) -> bool {
    held.leave.is_cancelled()
}

#[test]
fn the_oldest_of_a_full_share_leaves_and_nobody_elses() {
    let room = room();
    let other = body(&room, "other").unwrap();
    let mut own: Vec<_> = (0..4).map(|_| body(&room, "own").unwrap()).collect();
    assert!(!own.iter().any(left));
    own.push(body(&room, "own").unwrap());
    assert_eq!(own.iter().map(left).collect::<Vec<_>>(), [true, false, false, false, false]);
    assert!(!left(&other));
    assert_eq!(own[0].grow(1), Err(NoRoom), "it has no place any more");
    assert_eq!(room.table().held_bytes, 5 * 4 * KIB);
}

#[test]
fn where_all_is_full_the_owner_that_holds_most_makes_room() {
    let room = Room::new(16 * KIB, 12 * KIB);
    let small = body(&room, "small").unwrap();
    let large: Vec<_> = (0..3).map(|_| body(&room, "large").unwrap()).collect();
    let newcomer = body(&room, "newcomer").unwrap();
    assert_eq!(large.iter().map(left).collect::<Vec<_>>(), [true, false, false]);
    assert!(!left(&small) && !left(&newcomer));
}

#[test]
fn what_came_whole_stays_and_a_full_share_of_it_refuses() {
    let room = room();
    let own: Vec<_> = (0..4).map(|_| body(&room, "own").unwrap()).collect();
    own.iter().for_each(Held::came_whole);
    assert_eq!(body(&room, "own").unwrap_err(), NoRoom);
    assert!(!own.iter().any(left));
    assert!(body(&room, "other").is_ok());
    drop(own);
    assert!(body(&room, "own").is_ok());
}

#[test]
fn a_body_larger_than_its_share_finds_no_room_and_leaves_nothing_behind() {
    let room = room();
    let held = room.enter("own").unwrap();
    assert_eq!(held.grow(16 * KIB), Err(NoRoom));
    drop(held);
    assert!(room.table().owners.is_empty());
    assert_eq!(room.table().held_bytes, 0);
}

#[test]
fn nobody_leaves_for_a_body_that_would_not_have_room_even_then() {
    let room = room();
    let own: Vec<_> = (0..4).map(|_| body(&room, "own").unwrap()).collect();
    own[1..].iter().for_each(Held::came_whole);
    let next = room.enter("own");
    assert_eq!(next.unwrap().grow(8 * KIB).unwrap_err(), NoRoom);
    assert_eq!(own.iter().map(left).collect::<Vec<_>>(), [true, false, false, false], "for the place alone");

    let room = Room::new(16 * KIB, 12 * KIB);
    let (small, large) = (body(&room, "small").unwrap(), body(&room, "large").unwrap());
    large.grow(7 * KIB).unwrap();
    large.came_whole();
    let newcomer = room.enter("newcomer").unwrap();
    assert_eq!(newcomer.grow(8 * KIB), Err(NoRoom));
    assert!(!left(&small));
}
