use serde_json::json;

use super::super::limits::MAX_MADE;
use super::super::value::{Values, list, map, number, text, timestamp};
use super::super::{Found, kept};
use super::*;

/// A request with a credential.
#[derive(Default)]
struct Shown {
    headers: std::sync::OnceLock<Option<Values<'static>>>,
    tags: std::sync::OnceLock<Option<Values<'static>>>,
    parameters: std::sync::OnceLock<Option<Values<'static>>>,
}

/// As long as a path may be.
static LONG: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| "x".repeat(MAX_MADE / 2));

impl Variables for Shown {
    fn get(&self, name: &str) -> Option<Found<'_>> {
        match name {
            "request.method" => Some(text("POST")),
            "request.path" => Some(text(&LONG)),
            "request.max_tokens" => Some(number(7)),
            "request.headers" => kept(&self.headers, || Some(map([("x-team", "blue")].into_iter()))),
            "request.tags" => kept(&self.tags, || Some(list(["a", "b"].into_iter()))),
            "request.parameters" => kept(&self.parameters, || Some(list(std::iter::repeat_n("p", 3_000)))),
            "credential" => Some(text("opaque-of-ada")),
            "now" => timestamp(1_700_000_000),
            _ => None,
        }
    }
}

fn evaluate(expression: &str) -> Result<Option<Json>, EvaluationError> {
    let fields = Fields::over_credentials(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    fields.evaluate_with(&Shown::default()).map(|found| found.map(Json::Object))
}

#[test]
fn the_map_that_is_chosen_is_the_result() {
    for (expression, expected) in [
        ("{'user_id': 'ada'}", Some(json!({"user_id": "ada"}))),
        ("{}", Some(json!({}))),
        ("null", None),
        ("false", None),
        ("credential.startsWith('opaque-') ? {'user_id': 'ada'} : null", Some(json!({"user_id": "ada"}))),
        ("credential == '' ? null : credential == 'x' ? {'user_id': 'x'} : {'a': 1}", Some(json!({"a": 1}))),
        ("now < timestamp(0) ? {'user_id': 'ada'} : false", None),
        // The branch that is not taken is not asked.
        ("request.method == 'GET' ? {'user_id': request.headers['x-none']} : {}", Some(json!({}))),
        (
            "{'a': request.headers['x-team'] + '-team', 'b': request.tags, 'c': 1.5, 'd': request.max_tokens * 2, \
              'e': true, 'f': null, 'g': [], 'h': ['a', 'b'] + request.tags, 'i': request.tags.map(t, size(t)), \
              'j': request.headers['x-team'].matches('^b'), 'k': request.tags.filter(t, t == 'b')}",
            Some(json!({
                "a": "blue-team", "b": ["a", "b"], "c": 1.5, "d": 14, "e": true, "f": null, "g": [],
                "h": ["a", "b", "a", "b"], "i": [1, 1], "j": true, "k": ["b"],
            })),
        ),
        ("{'api_key': credential}", Some(json!({"api_key": "opaque-of-ada"}))),
    ] {
        assert_eq!(evaluate(expression), Ok(expected), "{expression}");
    }
}

#[test]
fn what_has_no_result_is_an_error() {
    for (expression, expected) in [
        ("{'user_id': request.headers['x-none']}", EvaluationError::Missing),
        ("request.headers['x-none'] == 'a' ? {} : null", EvaluationError::Missing),
        ("{'a': int(request.headers['x-team'])}", EvaluationError::Conversion),
        ("{'a': request.max_tokens / 0}", EvaluationError::Range),
        ("{'a': 1.0 / 0.0}", EvaluationError::Range),
        ("{'a': request.path, 'b': request.path, 'c': 'x'}", EvaluationError::TooLarge),
    ] {
        assert_eq!(evaluate(expression), Err(expected), "{expression}");
    }
}

#[test]
fn turns_are_counted_over_the_condition_and_all_fields() {
    let each = "request.parameters.all(p, p == 'p')";
    assert!(evaluate(&format!("{each} ? {{'a': {each}, 'b': {each}}} : null")).is_ok());
    let more = format!("{each} ? {{'a': {each}, 'b': {each}, 'c': {each} || true}} : null");
    assert_eq!(evaluate(&more), Err(EvaluationError::TooCostly));
}

#[test]
fn a_wrong_expression_is_refused_at_load_with_its_place() {
    for (expression, place, message) in [
        ("true", (1, 1), "the result is true or false; it must be a map that is written here, or null"),
        ("request.method == 'x'", (1, 16), "the result is true or false; it must be a map"),
        ("credential", (1, 1), "the result is a text; it must be a map"),
        ("request.headers", (1, 8), "the result is a map; it must be a map that is written here"),
        ("request.stream ? {} : 'x'", (1, 23), "the result is a text"),
        ("request.method ? {} : null", (1, 8), "the condition is a text"),
        ("{1: 'x'}", (1, 2), "the name of a field must be written as a text"),
        ("{credential: 'x'}", (1, 2), "the name of a field must be written as a text"),
        ("{'a': 1, 'a': 2}", (1, 10), "the field a is there twice"),
        ("{'a': request.headers}", (1, 14), "a is a map; a field is a text, a number, or a list of them"),
        ("{'a': {'b': 1}}", (1, 7), "maps and messages cannot be written here"),
        ("{'a': now}", (1, 7), "a is a timestamp"),
        ("{'a': caller.role}", (1, 7), "there is no variable caller; there is request, credential, now"),
        ("{'user_id': credential}", (1, 13), "what user_id holds is shown and logged, and credential must not be"),
        ("{'user_id': 'u-' + credential.lowerAscii()}", (1, 18), "credential must not be"),
        ("{'models': request.tags.filter(t, credential.contains(t))}", (1, 31), "credential must not be"),
        ("{'user_id': credential == 'a' ? 'b' : 'c'}", (1, 31), "credential must not be"),
        ("{'a': [credential]}", (1, 7), "credential must not be"),
        ("{'a': ", (1, 7), ""),
    ] {
        let error = Fields::over_credentials(expression).err().unwrap_or_else(|| panic!("{expression}"));
        assert!(error.message.contains(message), "{expression}: {error}");
        assert_eq!((error.line, error.column), place, "{expression}: {error}");
    }
}

#[test]
fn what_could_cost_too_much_is_refused_at_load() {
    let many: Vec<String> = (0..300).map(|n| format!("'{n}':1")).collect();
    let deep = format!("{}null", "true ? null : ".repeat(40));
    for (expression, message) in [
        (format!("{{{}}}", many.join(",")), "operators and other marks"),
        (deep, "levels deep"),
        (format!("{{'a': '{}'}}", "x".repeat(4_096)), "bytes; it may have 4096"),
    ] {
        let error = Fields::over_credentials(&expression).err().unwrap_or_else(|| panic!("{expression}"));
        assert!(error.message.contains(message), "{expression}: {error}");
    }
}
