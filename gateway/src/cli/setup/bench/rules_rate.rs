//! How many rules one core evaluates in a second.

use std::time::Duration;

use bytes::Bytes;
use tidegate_rules::decision::Decision;
use tidegate_rules::event::Event;
use tidegate_rules::{Destinations, RuleFile, State, compile};

use super::senders::payload;
use crate::cli::Failure;
use crate::time::clock;

/// Rules that look at each event.
const RULES: usize = 10;
/// Events between two looks at the clock.
const EVENTS: u64 = 500;

/// Rules evaluated per second: each looks at a field of an event of its topic, and one of ten fires.
///
/// # Errors
/// Never, unless the rules are none of the language any more.
pub(super) fn measure(lasting: Duration) -> Result<f64, Failure> {
    let file = file();
    let checked = compile(&[file], &Destinations::new(["cloud"]));
    let rules = match checked {
        Ok(checked) => checked.rules,
        Err(errors) => {
            let said: Vec<String> = errors.iter().map(|error| error.short()).collect();
            return Err(Failure::new(said.join("\n")));
        }
    };
    let events: Vec<Event> = (0..EVENTS).map(event).collect();
    let (mut state, mut decision) = (State::default(), Decision::default());
    let began = clock::monotonic();
    let mut evaluated = 0u64;
    loop {
        for event in &events {
            rules.step(&mut state, event.received, event, &mut decision);
        }
        evaluated += EVENTS * RULES as u64;
        let took = clock::monotonic().duration_since(began);
        if took >= lasting {
            return Ok(evaluated as f64 / took.as_secs_f64());
        }
    }
}

fn file() -> RuleFile {
    let rule = |number: usize| {
        let limit = if number == 0 { 20 } else { 80 + number };
        format!(
            "rule hot{number} {{\n  on \"bench/+/reading\"\n  when temperature > {limit}\n  send to cloud\n}}\n"
        )
    };
    RuleFile {
        path: "bench.rules".to_owned(),
        text: (0..RULES).map(rule).collect(),
    }
}

fn event(number: u64) -> Event {
    Event {
        topic: format!("bench/{}/reading", number % 10).into(),
        data: Bytes::from(payload(number)),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_of_the_language_and_one_of_ten_fires() {
        let file = file();
        let checked = compile(&[file], &Destinations::new(["cloud"])).expect("they are fine");
        assert_eq!(checked.rules.rule_count(), RULES);
        let mut decision = Decision::default();
        checked
            .rules
            .step(&mut State::default(), 0, &event(3), &mut decision);
        assert_eq!(decision.outputs.len(), 1);
        assert!(measure(Duration::ZERO).expect("a figure") > 0.0);
    }
}
