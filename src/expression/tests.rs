use proptest::prelude::*;
use serde_json::json;

use super::*;

fn claims(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

fn sample() -> Map<String, Json> {
    claims(json!({
        "sub": "ada", "level": 3, "share": 0.5, "email_verified": true, "manager": null,
        "big": 18_446_744_073_709_551_615_u64,
        "groups": ["engines", "looms"], "realm": {"roles": ["admin"], "name": "north"}, "iat": 1_700_000_000,
        "projects": [{"name": "one", "roles": ["reader"]}, {"name": "two", "roles": ["writer", "owner"]}],
    }))
}

fn over_claims(text: &str) -> Result<bool, EvaluationError> {
    Expression::over_claims(text).unwrap_or_else(|error| panic!("{text}: {error}")).evaluate(&sample())
}

#[test]
fn expressions_say_what_they_say() {
    for (text, expected) in [
        ("claims.sub == 'ada'", true),
        ("claims['sub'] != 'ada'", false),
        ("claims.level >= 3 && claims.level < 4", true),
        ("claims.level == 3.0", true),
        ("claims.share < 1", true),
        ("claims.level + 1 == 4", true),
        ("-claims.level == -3", true),
        ("int(claims.share) == 0", true),
        ("claims.big > 1", true),
        ("claims.email_verified", true),
        ("!claims.email_verified || false", false),
        ("claims.manager == null", true),
        ("has(claims.sub) && !has(claims.nobody)", true),
        ("'nobody' in claims", false),
        ("has(claims.realm.roles)", true),
        ("'engines' in claims.groups", true),
        ("claims.groups.exists(group, group.startsWith('eng'))", true),
        ("claims.groups.all(group, group.size() > 5)", false),
        ("claims.groups.exists_one(group, group == 'looms')", true),
        ("claims.groups.filter(group, group != 'looms').size() == 1", true),
        ("size(claims.groups.map(group, size(group))) == 2", true),
        ("'writer' in claims.projects.filter(p, p.name == 'two')[0].roles", true),
        ("claims.projects.map(p, p.name == 'two', p.roles)[0][1] == 'owner'", true),
        ("claims.projects.exists(p, p.roles.exists(role, role == 'owner'))", true),
        ("claims.projects.exists(p, p.roles.exists(role, role in claims.groups))", false),
        ("claims.realm.exists(key, key == 'name')", true),
        ("claims.groups[1] == 'looms'", true),
        ("claims.sub in ['ada', 'grace']", true),
        ("(claims.level > 2 ? 'high' : 'low') == 'high'", true),
        ("claims.sub.matches('^a.a$') && !claims.sub.matches('x') && claims.realm.name.matches('th$')", true),
        ("claims.sub.upperAscii() == 'ADA' && claims.sub.contains('d') && claims.sub.endsWith('a')", true),
        ("timestamp(claims.iat) < timestamp('2024-01-01T00:00:00Z')", true),
        ("timestamp(claims.iat).getHours() == 22 && timestamp(claims.iat).getHours('Europe/Berlin') == 23", true),
        ("timestamp(claims.iat) + duration('24h') > timestamp(claims.iat)", true),
        ("string(claims.level) + claims.sub == '3ada'", true),
        ("'ä' + claims.sub == 'äada'", true),
        ("claims.nobody == 1 || true", true),
    ] {
        assert_eq!(over_claims(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_has_no_result_is_an_error_that_quotes_nothing() {
    for (text, expected) in [
        ("claims.nobody == 'x'", EvaluationError::Missing),
        ("claims.groups[7] == 'x'", EvaluationError::Missing),
        ("claims.sub", EvaluationError::NotBoolean),
        ("claims.sub && true", EvaluationError::Type),
        ("claims.sub > 1", EvaluationError::Type),
        ("claims.sub.name == 'x'", EvaluationError::Type),
        ("claims.level.startsWith('x')", EvaluationError::Type),
        ("claims.level.matches('x')", EvaluationError::Type),
        ("claims.sub.exists(x, x == 'a')", EvaluationError::Type),
        ("'x' in claims.sub", EvaluationError::Type),
        ("claims.level / 0 == 1", EvaluationError::Range),
        ("claims.level * 9223372036854775807 == 1", EvaluationError::Range),
        ("int(claims.sub) == 1", EvaluationError::Conversion),
        ("timestamp(claims.sub) < timestamp(0)", EvaluationError::Conversion),
    ] {
        assert_eq!(over_claims(text), Err(expected), "{text}");
    }
}

#[test]
fn a_wrong_expression_is_refused_at_load_with_its_place_and_what_is_allowed() {
    for (text, place, message) in [
        ("caller.rol == 'x'", (1, 7), "caller has no field rol; it has method, role, user_id"),
        ("true &&\n  calle.role == 'x'", (2, 3), "there is no variable calle; there is request, caller, model, now"),
        ("'ä' == request.pat", (1, 15), "request has no field pat"),
        ("request == 'x'", (1, 1), "request is no value by itself; name one of its fields: method"),
        ("request['path'] == 'x'", (1, 1), "request is no value by itself"),
        ("has(caller.team_id)", (1, 4), "caller.team_id is always there"),
        ("request.path", (1, 8), "the result is a text; it must be true or false"),
        ("size(request.path)", (1, 5), "the result is a whole number"),
        ("request.path == 1", (1, 14), "a text is never equal to a whole number"),
        ("request.path == null", (1, 14), "a text is never equal to null"),
        ("request.path.name == 'x'", (1, 13), "a text has no fields"),
        ("request.tags == ['a']", (1, 14), "not compared as a whole"),
        ("1 in request.tags", (1, 3), "a whole number is never in a list of a text"),
        ("'a' in request.path", (1, 5), "ask a text with contains"),
        ("request.stream && request.max_tokens", (1, 16), "&& does not take true or false and a whole number"),
        ("request.path + 1 == 'x'", (1, 14), "+ does not take a text and a whole number"),
        ("request.path < 1", (1, 14), "< does not take a text and a whole number"),
        ("request.headers[1] == 'x'", (1, 16), "[] does not take a map and a whole number"),
        ("request.path.startWith('/')", (1, 23), "there is no function startWith here; there is size, contains"),
        ("startsWith(request.path, '/')", (1, 11), "startsWith is written x.startsWith(…)"),
        ("request.path.int() == 1", (1, 17), "int is written int(x)"),
        ("request.path.startsWith('/', 'x')", (1, 24), "startsWith takes one argument, not 2"),
        ("request.path.startsWith(1)", (1, 25), "startsWith takes a text, not a whole number"),
        ("request.path.lowerAscii(1) == 'x'", (1, 24), "lowerAscii takes no argument"),
        ("size(1) == 1", (1, 6), "size takes a text or a list or a map, not a whole number"),
        ("size(request.path, request.path) == 1", (1, 5), "size takes one argument, not 2"),
        ("now.getHours(9) == 1", (1, 14), "must be written as a text in quotes"),
        ("now.getHours('Mars/Base') == 1", (1, 14), "unknown time zone Mars/Base"),
        ("timestamp('yesterday') < now", (1, 10), "timestamp"),
        ("duration('soon') == duration('1h')", (1, 9), "duration"),
        ("request.path.matches(model.name)", (1, 27), "must be written as a text in quotes"),
        ("request.path.matches('(')", (1, 22), "the pattern cannot be used: unclosed group"),
        ("request.path.matches('(\\\\w{100}){100}')", (1, 22), "the pattern cannot be used: takes more than"),
        ("request.tags.all(tag)", (1, 17), "all is written list.all(element, …)"),
        ("request.path.all(c, c == 'x')", (1, 8), "a text is no collection"),
        ("request.tags.all(model, model == 'x')", (1, 17), "the name model is taken"),
        ("request.tags.all(t, size(t))", (1, 25), "the condition is a whole number"),
        ("{'a': 1}.a == 1", (1, 1), "maps and messages cannot be written here"),
        ("type(request.path) == string", (1, 5), "there is no function type here"),
        ("dyn(request) == 1", (1, 4), "there is no function dyn here"),
        ("b'x' == b'x'", (1, 1), "bytes (b'…') and unsigned numbers"),
        ("[request.tags] == []", (1, 9), "hold single values"),
        ("request.path ==", (1, 16), ""),
        ("request.?path == 'x'", (1, 8), "unsupported syntax"),
    ] {
        let error = Expression::over_requests(text).expect_err(text);
        assert!(error.message.contains(message), "{text}: {error}");
        assert_eq!((error.line, error.column), place, "{text}: {error}");
    }
}

#[test]
fn what_could_cost_too_much_is_refused_at_load() {
    let sum = |terms: usize| format!("{} == 1", vec!["1"; terms].join(" + "));
    for (text, message) in [
        (String::new(), "the expression is empty"),
        (format!("true || '{}' == ''", "x".repeat(MAX_TEXT)), "bytes; it may have 4096"),
        (sum(MAX_DEPTH + 2), "levels deep"),
        (sum(1_000), "operators and other marks; it may have"),
        (vec!["true"; 300].join(" || "), "more than 512 parts"),
        (format!("{}true{}", "(".repeat(25), ")".repeat(25)), "brackets are nested more than 24 deep"),
        (format!("{}true", "!(".repeat(25)), "brackets are nested more than 24 deep"),
        ("claims.a.all(x, x.all(y, y.all(z, z == 1)))".into(), "macros are nested more than 2 deep"),
        ("claims.a.all(x, claims.b.all(y, x == y))".into(), "goes over a part of the outer one's element"),
        ("claims.a.all(x, x + x == 'aa')".into(), "within a macro + adds numbers and times only"),
        ("claims.a.all(x, [x, x] == x)".into(), "hold literals only"),
        ("claims.a.map(x, claims).size() == 1".into(), "map collects single values or parts of the element"),
        ("claims.a.map(x, claims.a).size() == 1".into(), "map collects single values or parts of the element"),
    ] {
        let error = Expression::over_claims(&text).expect_err(&text);
        assert!(error.message.contains(message), "{text}: {error}");
    }
}

#[test]
fn what_is_within_the_bound_is_taken() {
    for text in [
        vec!["true"; 250].join(" || "),
        format!("{}true{}", "(".repeat(20), ")".repeat(20)),
        format!("{} == 30", ["1"; 30].join(" + ")),
        "claims.a.all(x, x.all(y, int(y) + 1 == 2)) && claims.b.all(x, x.all(y, y == 1))".to_owned(),
        "claims.a.all(x, [1, 2].exists(y, y in x))".to_owned(),
    ] {
        let expression = Expression::over_claims(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let ones = json!([[1, 1], [1]]);
        assert!(expression.evaluate(&claims(json!({"a": ones, "b": ones}))).is_ok(), "{text}");
    }
}

#[test]
fn the_largest_texts_that_are_parsed_do_not_exhaust_the_stack() {
    for (once, times) in [
        ("1+", 760),
        ("a.", 760),
        ("a[", 24),
        ("!", 760),
        ("-", 760),
        ("a?a:", 380),
        ("(", 24),
        ("a<", 760),
        ("a&&", 380),
        ("a||b&&", 190),
        ("[", 24),
        ("f(", 24),
        ("a.f(", 24),
        ("a.f()", 250),
        ("a[0]", 250),
        ("a.all(x,", 24),
        ("{", 24),
        ("!(", 24),
        ("a?(", 24),
        ("'a',", 250),
        ("a,", 760),
        ("a in ", 700),
        ("a ", 2_000),
        ("1 ", 2_000),
        ("\\", 760),
        ("`", 760),
        ("@", 760),
        ("true?1:", 380),
    ] {
        for end in ["1", "true", ""] {
            let text = format!("{}{end}", once.repeat(times));
            // Most are no expressions; each gets an answer that fits a line.
            let complaint = Expression::over_claims(&text).err().map(|error| error.message).unwrap_or_default();
            assert!(complaint.len() < 1_000, "{once}: {complaint}");
        }
    }
}

#[test]
fn deep_and_large_data_is_an_error_and_no_risk() {
    let mut deep = json!(1);
    for _ in 0..10_000 {
        deep = Json::Array(vec![deep]);
    }
    let has = Expression::over_claims("has(claims.a)").unwrap();
    let map = Map::from_iter([("a".to_owned(), deep)]);
    assert_eq!(has.evaluate(&map), Err(EvaluationError::TooLarge));
    // Dropping it would recurse as deep.
    std::mem::forget(map);
    let large = claims(json!({"a": vec![1; MAX_VALUES + 1]}));
    assert_eq!(has.evaluate(&large), Err(EvaluationError::TooLarge));
    let fitting = claims(json!({"a": vec![1; MAX_VALUES - 1]}));
    assert_eq!(has.evaluate(&fitting), Ok(true));
}

#[test]
fn turns_are_counted_over_all_macros_of_an_evaluation() {
    let loops = |count: usize| vec!["claims.a.all(x, x == 1)"; count].join(" && ");
    let data = claims(json!({"a": vec![1; 4_000]}));
    assert_eq!(Expression::over_claims(&loops(2)).unwrap().evaluate(&data), Ok(true));
    // Nothing hides it: neither an error that || passes over, nor what has been collected so far.
    for text in [
        loops(3),
        format!("!({}) || true", loops(3)),
        format!("{} && claims.a.map(x, x).size() == 1", loops(2)),
        format!("{} && claims.a.filter(x, x == 2).size() == 0", loops(2)),
        format!("{} && claims.a.exists_one(x, x == 2)", loops(2)),
        format!("{} && claims.a.exists(x, x == 2)", loops(2)),
    ] {
        let result = Expression::over_claims(&text).unwrap().evaluate(&data);
        assert_eq!(result, Err(EvaluationError::TooCostly), "{text}");
    }
}

/// JSON of any shape, with the names that the expressions below ask for.
fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "[a-c0-9:é]{0,4}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// Text that is put together from the language's own words, and so is often an expression.
fn any_text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "claims",
        ".a",
        ".b",
        "['c']",
        "[0]",
        " == ",
        " != ",
        " < ",
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        " in ",
        " && ",
        " || ",
        "!",
        "-",
        "(",
        ")",
        "[",
        "]",
        "'a'",
        "'Europe/Berlin'",
        "0",
        "9223372036854775807",
        "1.5",
        "null",
        "true",
        " ? ",
        " : ",
        ".size()",
        ".matches('a+')",
        ".all(x, x",
        ".exists(y, y",
        ".map(z, z",
        ".filter(x, ",
        ".startsWith('a')",
        "has(",
        "int(",
        "string(",
        "double(",
        "timestamp(",
        "duration(",
        ".getHours()",
        ".getDayOfYear()",
        "\\",
        "é",
        "\n",
        "x",
        ", ",
    ]);
    prop::collection::vec(word, 1..14).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_and_no_data_make_an_expression_panic(
        text in any_text(), a in any_json(), b in any_json(), c in any_json()
    ) {
        if let Ok(expression) = Expression::over_claims(&text) {
            let _ = expression.evaluate(&claims(json!({"a": a, "b": b, "c": c})));
        }
        let _ = Expression::over_requests(&text);
    }

    #[test]
    fn no_data_makes_these_operations_panic(a in any_json(), b in any_json(), which in 0_usize..24) {
        let text = [
            "claims.a == claims.b", "claims.a < claims.b", "claims.a + claims.b == 1", "claims.a - claims.b == 1",
            "claims.a * claims.b == 1", "claims.a / claims.b == 1", "claims.a % claims.b == 1", "-claims.a == 1",
            "claims.a in claims.b", "claims.a[claims.b] == 1", "claims.a.all(x, x == claims.b)",
            "claims.a.map(x, x).size() == 1", "claims.a.exists_one(x, x.b == 1)", "int(claims.a) == 1",
            "double(claims.a) == 1.0", "string(claims.a) == ''", "bool(claims.a)",
            "timestamp(claims.a) - timestamp(claims.b) > duration('1h')", "timestamp(claims.a).getDayOfYear() == 1",
            "timestamp(claims.a).getHours('Pacific/Apia') == 1",
            "duration(claims.a) + duration(claims.b) > duration('1h')",
            "timestamp(claims.a) + duration(claims.b) > timestamp(0)", "claims.a.matches('^a')",
            "claims.a ? claims.b : true",
        ][which];
        let expression = Expression::over_claims(text).unwrap();
        let _ = expression.evaluate(&claims(json!({"a": a, "b": b})));
    }
}
