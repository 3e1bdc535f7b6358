//! Feeds texts to the token reader. What it takes has one spelling and none of the algorithms that need no private key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollward::authn::jwt::{MAX_TOKEN, Token, is_jwt_shaped};

fuzz_target!(|text: &str| {
    let Ok(token) = Token::read(text) else {
        // Whoever asks for less gets no less.
        if let Ok(padded) = Token::read_padded(text) {
            assert!(text.contains('='));
            let _ = padded.claims();
        }
        return;
    };
    assert!(is_jwt_shaped(text) && text.len() <= MAX_TOKEN && !text.contains('='));
    assert_eq!(token.header()["alg"].as_str().is_some_and(|name| name.starts_with("HS") || name == "none"), false);
    if let Ok(issuer) = token.unverified_issuer() {
        let issuer = issuer.map(str::to_owned);
        let claims = token.into_claims().expect("claims that were read once");
        assert_eq!(claims.get("iss").and_then(|value| value.as_str()).map(str::to_owned), issuer);
    }
});
