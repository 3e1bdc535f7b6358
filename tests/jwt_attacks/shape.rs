//! Tokens written in another way than the one, and several at once.

use super::support::{json, raw};
use super::{WORLD, bearer, named, refuses, send};

#[test]
fn a_token_is_written_in_one_way() {
    let world = &*WORLD;
    let good = world.good();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signed] = parts[..] else { panic!("three parts") };
    let bob = world.sign(&world.header(json!({})), &world.claims(json!({"sub": "bob"})));
    let opaque = world.signed.idp.opaque(json!({}));
    let encoded = |text: &str| text.replace('-', "+").replace('_', "/");
    // The last letter of a part has bits that mean nothing.
    let twin = {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let last = LETTERS.iter().position(|letter| *letter == good.as_bytes()[good.len() - 1]).unwrap();
        format!("{}{}", &good[..good.len() - 1], char::from(LETTERS[last ^ 1]))
    };
    refuses(
        world,
        named(vec![
            ("white space within", format!("{header}.{} {}.{signed}", &claims[..8], &claims[8..])),
            ("a tab within", format!("{header}.{claims}\t.{signed}")),
            ("padding", format!("{header}=.{claims}.{signed}")),
            ("padding of the signature", format!("{good}==")),
            ("a trailing dot", format!("{good}.")),
            ("a leading dot", format!(".{good}")),
            ("four parts", format!("{good}.{signed}")),
            ("five parts", format!("{header}..{claims}.{signed}.{signed}")),
            ("two parts", format!("{header}.{claims}")),
            ("only dots", "..".to_owned()),
            ("dots of nothing", "a.b.c".to_owned()),
            (
                "the other alphabet",
                encoded(&world.sign(&world.header(json!({"x": "\u{3ff}\u{3ff}?>?>~~~"})), &world.claims(json!({})))),
            ),
            ("letters of no alphabet", format!("{header}.{claims}.{}!", &signed[..signed.len() - 1])),
            ("bits behind the last byte", twin),
            ("quotes", format!("\"{good}\"")),
            ("a list", format!("{good}, {good}")),
            ("a list of credentials", format!("{good}, Bearer {bob}")),
            ("a list that begins badly", format!("bad, Bearer {good}")),
            ("a list that ends badly", format!("{good}, Bearer bad")),
            ("a list without a space", format!("{good},{good}")),
            ("a parameter", format!("{good};a=b")),
            ("an opaque token", opaque),
        ]),
    );
}

#[test]
fn two_credentials_are_none_and_names_of_headers_have_no_case() {
    let world = &*WORLD;
    let (ada, bob) = (world.good(), world.sign(&world.header(json!({})), &world.claims(json!({"sub": "bob"}))));
    for (name, headers) in [
        ("two lines", format!("{}{}", bearer(&ada), bearer(&bob))),
        ("in two letter cases", format!("Authorization: Bearer {ada}\r\nAUTHORIZATION: Bearer {bob}\r\n")),
        ("a bad one behind a good one", format!("{}{}", bearer(&ada), bearer("bad"))),
        ("a good one behind a bad one", format!("{}{}", bearer("bad"), bearer(&ada))),
        ("a folded line", format!("authorization: Bearer {ada}\r\n {bob}\r\n")),
        ("a space before the colon", format!("authorization : Bearer {ada}\r\n")),
        ("NUL", format!("authorization: Bearer {ada}\0\r\n")),
    ] {
        let (answer, reached) = send(world, &headers);
        assert!(matches!(raw::status(&answer), 400 | 401) && !reached, "{name}: {answer}");
        assert!(!answer.contains(&ada) && !answer.contains(&bob), "{name}");
    }
    for name in ["authorization", "Authorization", "AUTHORIZATION", "aUTHORIZATION"] {
        let (answer, reached) = send(world, &format!("{name}: Bearer {ada}\r\n"));
        assert!(raw::status(&answer) == 200 && reached, "{name}: {answer}");
    }
}
