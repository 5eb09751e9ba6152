use ostrakon_types::RequestKind;

use crate::fixture::{approves, request};

/// Whether a `time-range-rule` with these arguments holds at the instant, on a server in `zone`.
fn holds_in(zone: &str, arguments: &str, at: &str) -> bool {
    let text = format!("decrypt: [[ {{rule: time-range-rule, {arguments}}} ]]");
    approves(&text, zone, &request(RequestKind::Decrypt, &[]), at)
}

fn holds(arguments: &str, at: &str) -> bool {
    holds_in("UTC", arguments, at)
}

const OFFICE: &str = "time_start: 8:00am, time_end: 6:00pm";

#[test]
fn both_ends_are_inclusive_to_the_instant() {
    for (at, expected) in [
        ("2022-03-09T07:59:59.999Z", false),
        ("2022-03-09T08:00:00Z", true),
        ("2022-03-09T18:00:00Z", true),
        ("2022-03-09T18:00:00.000000001Z", false),
        ("2022-03-09T18:00:30Z", false),
    ] {
        assert_eq!(holds(OFFICE, at), expected, "{at}");
    }
    assert!(holds(
        "time_start: '00:00', time_end: '23:59:59'",
        "2022-03-09T23:59:59Z"
    ));
}

#[test]
fn a_date_is_excluded_or_included_or_its_weekday_is_listed() {
    // The 9th of March 2022 was a Wednesday.
    let at = "2022-03-09T12:00:00Z";
    assert!(holds("days: [2]", at) && !holds("days: [0, 1, 3, 4, 5, 6]", at));
    assert!(
        holds("days: [0], include: 2022-03-09", at) && !holds("days: [0], include: 2022-03-10", at)
    );
    assert!(!holds("exclude: [2022-03-09]", at) && holds("exclude: [2022-03-10]", at));
    assert!(!holds(
        "days: [2], include: 2022-03-09, exclude: 2022-03-09",
        at
    ));
    assert!(
        holds("include: 2022-03-10", at),
        "without days, all weekdays are listed"
    );
    assert!(holds("days: [], include: 2022-03-09", at) && !holds("days: []", at));
}

#[test]
fn times_without_a_zone_are_the_servers() {
    let at = "2022-07-01T07:30:00Z";
    assert!(!holds(OFFICE, at) && holds_in("Europe/London", OFFICE, at));
    assert!(holds_in("Asia/Kolkata", OFFICE, at) && !holds_in("America/New_York", OFFICE, at));
}

#[test]
fn abbreviations_mean_their_offset_all_year() {
    let window = "time_start: 9:00am EST, time_end: 5:00pm EST";
    for month in ["01", "07"] {
        assert!(holds(window, &format!("2022-{month}-05T14:00:00Z")));
        assert!(!holds(window, &format!("2022-{month}-05T13:59:59Z")));
    }
}

#[test]
fn date_and_time_are_both_taken_in_the_windows_zone() {
    // 23:00 UTC on Tuesday is 03:00 on Wednesday four hours further east.
    let window = "days: [2], time_start: '02:00+04:00', time_end: '04:00+04:00'";
    assert!(holds(window, "2022-03-08T23:00:00Z") && !holds(window, "2022-03-09T23:00:00Z"));
    let excluded = format!("{window}, exclude: 2022-03-09");
    assert!(!holds(&excluded, "2022-03-08T23:00:00Z"));
    // A named zone does the same without times.
    let day = "days: [2], timezone: Asia/Dubai";
    assert!(holds(day, "2022-03-08T20:00:00Z") && !holds(day, "2022-03-08T19:59:59Z"));
}

/// Threat 5: the nights on which clocks change.
#[test]
fn daylight_saving_time_moves_windows_with_the_clock() {
    let window = "time_start: '01:30', time_end: '02:30', timezone: Europe/London";
    // 29 March 2026: 01:00 to 02:00 does not happen.
    assert!(!holds(window, "2026-03-29T00:59:59Z"), "00:59:59");
    assert!(holds(window, "2026-03-29T01:00:00Z"), "02:00");
    assert!(!holds(window, "2026-03-29T01:30:01Z"), "02:30:01");
    // 25 October 2026: 01:00 to 02:00 happens twice, and is in range both times.
    assert!(holds(window, "2026-10-25T00:30:00Z"), "01:30, first");
    assert!(!holds(window, "2026-10-25T01:15:00Z"), "01:15, second");
    assert!(holds(window, "2026-10-25T01:30:00Z"), "01:30, second");
    assert!(holds(window, "2026-10-25T02:30:00Z"), "02:30");
}

const NIGHT: &str = "time_start: 10:00pm, time_end: 6:00am, overnight: true";

#[test]
fn a_night_belongs_to_the_day_on_which_it_began() {
    for (at, expected) in [
        ("2022-03-09T21:59:59Z", false),
        ("2022-03-09T22:00:00Z", true),
        ("2022-03-10T03:00:00Z", true),
        ("2022-03-10T06:00:00Z", true),
        ("2022-03-10T06:00:01Z", false),
    ] {
        assert_eq!(holds(NIGHT, at), expected, "{at}");
        // The 9th of March 2022 was a Wednesday.
        assert_eq!(holds(&format!("{NIGHT}, days: [2]"), at), expected, "{at}");
        assert!(!holds(&format!("{NIGHT}, days: [3]"), at), "{at}");
        assert!(!holds(&format!("{NIGHT}, exclude: 2022-03-09"), at), "{at}");
    }
    // The clocks of London go forward at one in the night.
    let sunday = format!("{NIGHT}, days: [5]");
    assert!(holds_in("Europe/London", &sunday, "2026-03-29T04:59:00Z"));
    assert!(!holds_in("Europe/London", &sunday, "2026-03-29T05:01:00Z"));
}
