//! Configurations as they are written for the original load as they are.

use std::path::Path;

use super::support::cli::{run, text};

#[test]
fn each_example_of_a_configuration_loads_as_written() {
    let environment = [
        ("LITELLM_MASTER_KEY", "sk-operator-0123456789"),
        ("DATABASE_URL", "sqlite://tollward.db"),
        ("OPENAI_API_KEY", "sk-of-the-provider"),
        ("ANTHROPIC_API_KEY", "sk-ant-of-the-provider"),
        ("JWT_PUBLIC_KEY_URL", "https://idp.example/jwks,https://other.example/.well-known/openid-configuration"),
        ("JWT_AUDIENCE", "api://gateway"),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jwt/examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let arguments = ["config", "validate", "--config", path.to_str().unwrap()];
        let output = run(&arguments, &environment);
        assert!(output.status.success(), "{}: {}", path.display(), text(&output));
        // Without the provider's address nothing could be verified.
        let output = run(&arguments, &environment[..4]);
        assert_eq!(output.status.success(), path.ends_with("issuers.yaml"), "{}: {}", path.display(), text(&output));
        count += 1;
    }
    assert_eq!(count, 6);
}
