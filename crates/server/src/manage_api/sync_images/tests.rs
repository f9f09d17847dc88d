use super::*;

#[test]
fn the_two_readings_list_opposite_tags_and_an_open_job_is_not_there() {
    let listed = |reading, state| is_listed(reading, &TagOutcome { tag: "v1".to_owned(), state });
    for (state, failed, succeeded) in [
        (JobState::Waiting, true, false),
        (JobState::Running, true, false),
        (JobState::Success, false, true),
        (JobState::Existed, false, true),
        (JobState::Failed, true, false),
        (JobState::Timeout, true, false),
        (JobState::Cancel, true, false),
    ] {
        assert_eq!(listed(SyncImagesResponse::Failed, state), failed, "{state:?}");
        assert_eq!(listed(SyncImagesResponse::Succeeded, state), succeeded, "{state:?}");
    }
}
