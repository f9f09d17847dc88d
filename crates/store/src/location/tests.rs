use std::collections::HashSet;

use super::{Checkpoint, Location};

#[test]
fn fresh_locations_are_good_and_differ() {
    let locations: HashSet<Location> = (0..10_000).map(|_| Location::fresh()).collect();
    assert_eq!(locations.len(), 10_000);
    for location in &locations {
        let (shard, name) = location.parts().unwrap();
        assert!(name.ends_with(shard), "{location}");
    }
    // They spread: with 10 000 locations, no directory of 256 stays empty.
    let shards: HashSet<&str> = locations.iter().map(|location| location.parts().unwrap().0).collect();
    assert_eq!(shards.len(), 256);
}

#[test]
fn locations_come_back_as_they_were_recorded() {
    let location = Location::fresh();
    assert_eq!(Location::from(location.to_string()), location);
    assert_eq!(location.as_ref(), location.as_str());
    let json = serde_json::to_string(&location).unwrap();
    assert_eq!(json, format!("\"{location}\""));
    assert_eq!(serde_json::from_str::<Location>(&json).unwrap(), location);
}

#[test]
fn checkpoints_come_back_as_they_were_recorded() {
    let checkpoint = Checkpoint { offset_bytes: u64::MAX, state: "fs".to_owned() };
    let json = serde_json::to_string(&checkpoint).unwrap();
    assert_eq!(serde_json::from_str::<Checkpoint>(&json).unwrap(), checkpoint);
}
