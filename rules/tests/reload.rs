//! A reload keeps the state of every rule that says what it said before.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use support::{destinations, event, rules};
use tidegate_rules::decision::Decision;
use tidegate_rules::{RuleFile, RuleSet, State, compile};

/// The folder before the reload, as (file, text).
const BEFORE: [(&str, &str); 2] = [
    ("rules/1.rules", FIRST),
    (
        "rules/2.rules",
        r#"event flow { topic "flow/{meter}" litres float pump object } unmatched { send to archive }"#,
    ),
];

const FIRST: &str = r#"event temp { topic "temp/{press}" celsius float }
rule hot { on temp when celsius > 80 send to cloud }
rule wet { on flow when litres > 5 set rate = pump.rate send to cloud }
rule all { on "temp/#", flow send to archive }
"#;

fn set(files: &[(&str, &str)]) -> RuleSet {
    let file = |(path, text): &(&str, &str)| RuleFile {
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    let files: Vec<RuleFile> = files.iter().map(file).collect();
    match compile(&files, &destinations()) {
        Ok(checked) => checked.rules,
        Err(errors) => panic!("{errors:#?}"),
    }
}

/// A state in which every rule has seen something, and has a timer.
fn used(set: &RuleSet) -> State {
    let mut state = State::new();
    let mut decision = Decision::default();
    let stream = [
        ("temp/7", r#"{"celsius":90}"#),
        ("temp/7", "{}"),
        ("flow/1", r#"{"litres":7}"#),
        ("other", "{}"),
    ];
    for (topic, data) in stream {
        set.step(&mut state, 0, &event(topic, data), &mut decision);
    }
    for (due, rule) in [(40, "hot"), (30, "wet"), (20, "all"), (30, "unmatched")] {
        let event = Arc::new(event("temp/7", r#"{"celsius":90}"#));
        assert!(set.arm(&mut state, rule, due, event));
    }
    state
}

/// Rules that kept something.
fn kept(before: &RuleSet, after: &RuleSet) -> Vec<String> {
    let mut state = used(before);
    let counted: BTreeMap<String, _> = counted(before, &state);
    let totals = state.totals();
    state = after.carry(before, state);
    assert_eq!(state.totals(), totals);
    let names = after.counters(&state).rules;
    let names: Vec<String> = names.iter().map(|rule| rule.rule.to_string()).collect();
    let now_counted = self::counted(after, &state);
    let kept: Vec<String> = names
        .into_iter()
        .filter(|name| {
            let (seen, now_seen) = (counted.get(name), &now_counted[name]);
            assert!(now_seen.0 == 0 || Some(now_seen) == seen, "{name}");
            now_seen.0 > 0
        })
        .collect();
    // Timers go with their rules.
    let mut woken = Vec::new();
    let mut decision = Decision::default();
    while after.wake(&mut state, 100, &mut decision).is_some() {
        let rule = decision
            .outputs
            .first()
            .map(|addressed| &addressed.output.rule);
        woken.extend(rule.map(|rule| rule.as_deref().unwrap_or_default().to_owned()));
    }
    let all = [("all", "all"), ("unmatched", "unmatched"), ("hot", "hot")];
    let expected = all
        .iter()
        .filter(|(name, _)| kept.iter().any(|k| k == name));
    let expected: Vec<String> = expected.map(|(_, rule)| (*rule).to_owned()).collect();
    assert_eq!(woken, expected);
    kept
}

/// Events, outputs, and names of what was undefined.
type Counted = (u64, u64, Vec<(Arc<str>, u64)>);

/// What was counted at each rule.
fn counted(set: &RuleSet, state: &State) -> BTreeMap<String, Counted> {
    let rules = set.counters(state).rules.into_iter();
    let of = |rule: tidegate_rules::RuleCounters| {
        let counts = (rule.counts.seen, rule.counts.sent, rule.undefined);
        (rule.rule.to_string(), counts)
    };
    rules.map(of).collect()
}

/// `FIRST` with the first `from` replaced by `to`.
fn changed(from: &str, to: &str) -> String {
    assert!(FIRST.contains(from), "{from}");
    FIRST.replacen(from, to, 1)
}

/// What changed, the two files after it, and the rules that keep their state.
type Case = (&'static str, String, String, &'static str);

/// Changes around the rules.
fn changes_around() -> Vec<Case> {
    let [_, second] = BEFORE;
    let lines: Vec<&str> = FIRST.lines().collect();
    let reordered = [lines[3], lines[2], lines[1], lines[0]].join("\n");
    let moved = format!("{}\n{}\n{}", lines[0], lines[1], lines[3]);
    let moved_to = format!("{}\n{}", second.1, lines[2]);
    vec![
        (
            "unchanged",
            FIRST.to_owned(),
            second.1.to_owned(),
            "hot wet all unmatched",
        ),
        (
            "comment",
            changed("rule hot {", "# hot\nrule hot { # it is\n"),
            second.1.to_owned(),
            "hot wet all unmatched",
        ),
        (
            "layout",
            FIRST.replace(' ', "\n  "),
            second.1.to_owned(),
            "hot wet all unmatched",
        ),
        (
            "reordered",
            reordered,
            second.1.to_owned(),
            "all wet hot unmatched",
        ),
        (
            "moved to another file",
            moved,
            moved_to,
            "hot all wet unmatched",
        ),
        (
            "another one added",
            format!("rule new {{ on temp send to cloud }} {FIRST}"),
            second.1.to_owned(),
            "hot wet all unmatched",
        ),
        (
            "another one removed",
            FIRST.replace(lines[1], ""),
            second.1.to_owned(),
            "wet all unmatched",
        ),
        (
            "another one renamed",
            changed("rule hot", "rule hotter"),
            second.1.to_owned(),
            "wet all unmatched",
        ),
        (
            "another event declared",
            format!("event e {{ topic \"e\" }} {FIRST}"),
            second.1.to_owned(),
            "hot wet all unmatched",
        ),
    ]
}

/// Changes of the rules themselves.
fn changes_within() -> Vec<Case> {
    let [_, second] = BEFORE;
    let lines: Vec<&str> = FIRST.lines().collect();
    let swapped = changed("rule hot", "rule x").replace("rule wet", "rule hot");
    let swapped = swapped.replace("rule x", "rule wet");
    vec![
        (
            "its own text",
            changed("> 80", "> 81"),
            second.1.to_owned(),
            "wet all unmatched",
        ),
        (
            "its destination",
            changed("> 80 send to cloud", "> 80 send to archive"),
            second.1.to_owned(),
            "wet all unmatched",
        ),
        (
            "a declaration, by a field",
            changed("celsius float", "celsius float in 0..900"),
            second.1.to_owned(),
            "wet all unmatched",
        ),
        (
            "a declaration, by its topic",
            FIRST.to_owned(),
            r#"event flow { topic "flow/{pipe}" litres float pump object } unmatched { send to archive }"#.to_owned(),
            "hot unmatched",
        ),
        ("swapped names", swapped, second.1.to_owned(), "all unmatched"),
        (
            "another body under the name",
            FIRST.replace(lines[1], "rule hot { on \"temp/7\" send to cloud }"),
            second.1.to_owned(),
            "wet all unmatched",
        ),
        (
            "unmatched",
            FIRST.to_owned(),
            r#"event flow { topic "flow/{meter}" litres float pump object } unmatched { send to cloud }"#.to_owned(),
            "hot wet all",
        ),
    ]
}

#[test]
fn a_rule_keeps_its_state_exactly_if_it_says_what_it_said() {
    let before = set(&BEFORE);
    for (case, first, second, expected) in changes_around().into_iter().chain(changes_within()) {
        let after = set(&[("rules/1.rules", &first), ("rules/2.rules", &second)]);
        assert_eq!(kept(&before, &after).join(" "), expected, "{case}");
        // Renamed files change the places in messages and nothing else.
        let after = set(&[("rules/9.rules", &first), ("rules/a.rules", &second)]);
        assert_eq!(kept(&before, &after).join(" "), expected, "{case}, renamed");
    }
}

#[test]
fn names_of_what_was_undefined_go_with_their_rules() {
    let (before, after) = (
        set(&BEFORE),
        set(&[
            (
                "x",
                &format!("rule new {{ on \"x\" when a.b > 1 send to cloud }} {FIRST}"),
            ),
            BEFORE[1],
        ]),
    );
    let state = after.carry(&before, used(&before));
    let counted = counted(&after, &state);
    assert_eq!(counted["hot"].2, [("celsius".into(), 1)]);
    assert_eq!(counted["wet"].2, [("pump.rate".into(), 1)]);
    assert_eq!(counted["new"], (0, 0, vec![]));
}

#[test]
fn a_folder_empty_for_a_while_ends_the_state_of_its_rules() {
    let (before, empty) = (set(&BEFORE), RuleSet::pass_all(&destinations()));
    let state = empty.carry(&before, used(&before));
    assert_eq!(empty.next_wake(&state), None);
    assert_eq!(state.totals().unmatched, 1);
    let state = before.carry(&empty, state);
    assert!(
        counted(&before, &state)
            .values()
            .all(|counts| counts.0 == 0)
    );
    assert_eq!(state.totals().unmatched, 1);
}

#[test]
fn a_state_of_other_rules_is_not_carried() {
    let (before, other) = (set(&BEFORE), rules("rule hot { on \"t\" send to cloud }"));
    let state = before.carry(&other, used(&before));
    assert_eq!(state.totals().unmatched, 0);
    assert_eq!(before.next_wake(&state), None);
    assert!(before.counters(&state).rules.is_empty(), "not adopted yet");
}

#[test]
fn carried_state_goes_on_counting() {
    let (before, after) = (
        set(&BEFORE),
        set(&[("x", &changed("> 80", "> 81")), BEFORE[1]]),
    );
    let mut state = after.carry(&before, used(&before));
    let mut decision = Decision::default();
    let hot = event("temp/7", r#"{"celsius":90}"#);
    after.step(&mut state, 0, &hot, &mut decision);
    let seen: Vec<u64> = after
        .counters(&state)
        .rules
        .iter()
        .map(|r| r.counts.seen)
        .collect();
    assert_eq!(seen, [1, 1, 4, 1], "hot anew; wet, all and unmatched go on");
}
