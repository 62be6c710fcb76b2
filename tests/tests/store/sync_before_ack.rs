//! Between the last write of each group of events and its first PUBACK lies a successful
//! fdatasync: shown on a system-call trace of the real binary, for 1,000 acknowledgements.

use tidegate_tests::trace::acks::Acks;

#[test]
fn a_successful_sync_lies_between_each_groups_last_write_and_its_first_ack() {
    let test = "a_successful_sync_lies_between_each_groups_last_write_and_its_first_ack";
    let acks = Acks {
        events: 1_000,
        breach: None,
    };
    let Some(report) = acks.trace(test) else {
        return;
    };
    println!("{} acks, {} syncs", report.acks, report.syncs);
    assert_eq!(report.acks, 1_000);
    assert!(report.syncs > 0);
    assert!(
        report.breaches.is_empty(),
        "{} acks too early, the first: {}",
        report.breaches.len(),
        report.breaches[0]
    );
}
