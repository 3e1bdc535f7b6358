//! What a real LiteLLM answered, replayed: `conformance/cases.jsonl` holds one recorded case a line, and every one must
//! end here as it ended there, unless `conformance/deviations.json` says what we answer instead and by which rule. A rule
//! that no longer changes anything fails too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "conformance/case.rs"]
mod case;
#[path = "conformance/outcome.rs"]
mod outcome;
#[path = "conformance/replay.rs"]
mod replay;
#[path = "conformance/rules.rs"]
mod rules;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use case::Case;
use rules::Rules;

#[test]
fn every_recorded_case_ends_as_recorded_or_by_a_declared_rule() {
    let (cases, rules) = (Case::all(), Rules::read());
    let mut groups: BTreeMap<String, Vec<&Case>> = BTreeMap::new();
    let mut out_of_scope = 0;
    for case in &cases {
        if rules.is_out_of_scope(&case.id) {
            out_of_scope += 1;
        } else {
            groups.entry(case.server()).or_default().push(case);
        }
    }
    let rules_of_threads = &rules;
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = groups
            .values()
            .map(|group| scope.spawn(move || replay::on_a_server_of_their_own(group, rules_of_threads)))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("the replay ends")).collect()
    });
    let (mut agreeing, mut by_rule, mut wrong, mut excused) = (0, 0, Vec::new(), BTreeSet::new());
    for (case, got) in outcomes {
        let expected = rules.expected(case);
        match expected.differences(&got, &rules, &mut excused) {
            None if expected.is_recorded => agreeing += 1,
            None => by_rule += 1,
            Some(differences) => wrong.push(format!("{} ({}): {differences}", case.id, case.about)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let idle: Vec<_> = rules.lackable().filter(|declaration| !excused.contains(declaration)).collect();
    assert!(idle.is_empty(), "no answer lacks these fields any more: {idle:?}");
    assert_eq!(agreeing + by_rule + out_of_scope, cases.len());
    assert_eq!(
        (agreeing, by_rule, out_of_scope),
        (rules.counts.agreeing, rules.counts.by_rule, rules.counts.out_of_scope),
        "agreeing, deviating by a rule, out of scope: the counts in deviations.json"
    );
}

#[test]
fn every_rule_is_about_a_case_and_changes_what_was_recorded() {
    let (cases, rules) = (Case::all(), Rules::read());
    let idle = rules.idle(&cases);
    assert!(idle.is_empty(), "{}", idle.join("\n"));
}
