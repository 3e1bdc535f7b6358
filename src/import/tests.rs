//! A LiteLLM database with rows of every table, the odd ones included, against a real PostgreSQL.

use serde_json::json;

use super::{ImportError, Options, Report, litellm};
use crate::directory::testing::TempStore;
use crate::directory::{KeyFilter, SharedStore};
use crate::domain::{
    Account, BudgetWindow, Calendar, KeyHash, KeyType, Money, Period, Role, Scope, ScopeKind, Secret, TeamRole,
    Timestamp,
};
use crate::real::postgres::Postgres;

const SCHEMA: &str = include_str!("../../tests/support/litellm.sql");
const ROWS: &str = include_str!("tests/rows.sql");

fn now() -> Timestamp {
    Timestamp::parse("2026-11-24T12:00:00Z").unwrap()
}

fn options() -> Options {
    Options {
        now: now(),
        dry_run: false,
        server_runs: false,
        calendar: Calendar::default(),
        global_duration: Some("30d".parse().unwrap()),
        end_user_budget: None,
    }
}

/// A database with these statements run in it; its URL.
fn database(sql: &[&str]) -> Secret {
    let server = Postgres::shared();
    let url = server.database();
    let name = url.rsplit('/').next().unwrap();
    sql.iter().for_each(|sql| drop(server.execute(name, sql)));
    Secret::new(url)
}

fn hash(name: &str) -> KeyHash {
    KeyHash::of(&format!("sk-{name}"))
}

fn rows() -> String {
    let names = ["full", "blocked", "expired", "life", "orphan", "session", "yearly", "rotated", "over"];
    names.iter().fold(ROWS.to_owned(), |sql, name| sql.replace(&format!(":{name}"), &format!("'{}'", hash(name))))
}

async fn import(url: &Secret, store: &SharedStore, options: Options) -> Report {
    let url = Secret::new(format!("{}?schema=public&connection_limit=5", url.expose()));
    litellm(&url, store, options, &mut |_| {}).await.unwrap()
}

fn money(dollars: f64) -> Money {
    Money::from_dollars(dollars).unwrap()
}

async fn spent(store: &SharedStore, scope: Scope, duration: Option<&str>) -> Money {
    let period = duration.map_or_else(Period::total, |text| Calendar::default().period(text.parse().unwrap(), now()));
    store.spent(&Account { scope, period }).await.unwrap()
}

/// Runs every behaviour into every engine of the directory.
macro_rules! into {
    ($($engine:ident),+ => $behaviours:tt) => {
        $(into! { @one $engine $behaviours })+
    };
    (@one $engine:ident { $($behaviour:ident),+ $(,)? }) => {
        mod $engine {
            $(#[tokio::test]
            async fn $behaviour() {
                let temp = super::TempStore::$engine().await;
                super::$behaviour(&temp.store).await;
            })+
        }
    };
}

into! { sqlite, postgres, pgbouncer => {
    every_table_arrives_with_its_limits_and_what_was_spent,
    an_older_schema_is_read_as_far_as_it_goes,
    thousands_of_rows_are_read_in_batches_and_the_work_is_told,
    beside_a_running_server_the_spend_of_the_whole_gate_stays_as_it_counts_it,
} }

async fn every_table_arrives_with_its_limits_and_what_was_spent(store: &SharedStore) {
    let url = database(&[SCHEMA, &rows()]);

    let would = import(&url, store, Options { dry_run: true, ..options() }).await;
    let none = store.list_keys(&KeyFilter { limit: 10, ..KeyFilter::default() }).await.unwrap();
    assert_eq!((none.total, store.verify().await.unwrap().records), (0, 0), "a dry run writes nothing");

    let report = import(&url, store, options()).await;
    let mut did = report.clone();
    did.dry_run = true;
    assert_eq!(would, did, "the same report");
    let counts = |report: &Report| {
        let row =
            |table: &super::TableReport| (table.into, [table.read, table.imported, table.unchanged, table.skipped]);
        report.tables.iter().map(row).collect::<Vec<_>>()
    };
    let expected = [
        ("budgets", [5, 4, 0, 1]),
        ("object_permissions", [1, 1, 0, 0]),
        ("organizations", [1, 1, 0, 0]),
        ("organization_members", [2, 2, 0, 0]),
        ("users", [2, 2, 0, 0]),
        ("team_members", [6, 4, 0, 2]),
        ("teams", [3, 2, 0, 1]),
        ("projects", [1, 1, 0, 0]),
        ("keys", [8, 5, 0, 3]),
        ("deprecated_keys", [2, 1, 0, 1]),
        ("jwt_key_mappings", [2, 1, 0, 1]),
        ("end_users", [3, 3, 0, 0]),
        ("tags", [1, 1, 0, 0]),
        ("access_groups", [2, 2, 0, 0]),
    ];
    assert_eq!(counts(&report), expected);
    keys(store).await;
    owners(store).await;
    others(store).await;
    let proof = store.verify().await.unwrap();
    assert_eq!((proof.records, &proof.differences[..]), (report.opening_records, &[][..]), "the books add up");
    remarks(&report);

    let again = import(&url, store, Options { now: now().plus_millis(86_400_000), ..options() }).await;
    let unchanged = expected.map(|(into, [read, imported, _, skipped])| (into, [read, 0, imported, skipped]));
    // A day later the grace period of the rotated key is over.
    let unchanged = unchanged.map(|row| if row.0 == "deprecated_keys" { (row.0, [2, 0, 0, 2]) } else { row });
    assert_eq!(counts(&again), unchanged);
    assert_eq!((again.opening_records, store.verify().await.unwrap()), (0, proof));
}

async fn keys(store: &SharedStore) {
    let full = store.key(&hash("full")).await.unwrap().unwrap();
    assert_eq!((full.key_alias.as_deref(), full.key_name.as_deref()), (Some("full"), Some("sk-...full")));
    assert_eq!((full.user_id.as_deref(), full.team_id.as_deref()), (Some("ada"), Some("team")));
    assert_eq!((full.project_id.as_deref(), full.organization_id.as_deref()), (Some("project"), Some("org")));
    assert_eq!(full.expires, Timestamp::parse("2026-12-24T18:30:00.250Z"));
    assert_eq!(
        (&full.models[..], full.aliases["fast"].as_str()),
        (&["gpt-4o".to_owned(), "gpt-4o-mini".to_owned()][..], "gpt-4o-mini")
    );
    assert_eq!((full.key_type, &full.allowed_routes[..]), (KeyType::LlmApi, &["llm_api_routes".to_owned()][..]));
    assert_eq!((full.access_group_ids.len(), full.blocked, full.rotation_count), (1, false, 2));
    assert_eq!((full.auto_rotate, full.rotation_interval), (true, Some("30d".parse().unwrap())));
    let limits = &full.limits;
    assert_eq!((limits.rpm_limit, limits.tpm_limit, limits.max_parallel_requests), (Some(60), Some(100_000), Some(3)));
    assert_eq!((limits.max_budget, limits.budget_duration), (Some(money(1.5)), Some("1d".parse().unwrap())));
    assert_eq!(
        limits.budget_limits,
        [BudgetWindow { budget_duration: "30d".parse().unwrap(), max_budget: money(40.0) }]
    );
    assert_eq!(limits.model_max_budget["gpt-4o"].max_budget, Some(money(2.0)));
    assert_eq!(limits.model_max_budget["gpt-4o-mini"].budget_duration, Some("1d".parse().unwrap()));
    assert_eq!(
        limits.model_max_budget["old"].max_budget,
        Some(money(3.0)),
        "dollars alone, as older versions wrote it"
    );
    assert_eq!(limits.model_tpm_limit["gpt-4o"], 1_000);
    assert_eq!(
        (full.tags.len(), full.tag_rpm_limit["ci"], &full.enforced_params[..]),
        (1, 2, &["user".to_owned()][..])
    );
    assert_eq!(
        (full.temp_budget_increase, full.temp_budget_expiry),
        (Some(money(0.5)), Timestamp::parse("2026-12-01T00:00:00Z"))
    );
    assert_eq!(full.end_user_budget_id.as_deref(), Some("of-customers"));
    assert_eq!(serde_json::Value::Object(full.metadata), json!({"mcp_rpm_limit": {"github": 1}, "note": "mine"}));
    assert_eq!(full.permissions["get_spend_routes"], true);
    assert_eq!(full.extra["object_permission"]["mcp_servers"], json!(["github"]));
    assert_eq!(full.extra["config"], json!({"model_list": []}));
    assert_eq!(full.spend, money(4.5), "all it ever spent");
    let scope = Scope::key(&full.token);
    assert_eq!(spent(store, scope.clone(), Some("1d")).await, money(0.3), "what it spent today");
    assert_eq!(spent(store, scope.clone(), Some("30d")).await, Money::ZERO, "what is not in the database");
    let of_model = Scope::new(ScopeKind::ModelPerKey, &[&full.token.to_string(), "gpt-4o"]);
    assert_eq!(spent(store, of_model, None).await, money(0.2));

    let blocked = store.key(&hash("blocked")).await.unwrap().unwrap();
    assert!(blocked.blocked && blocked.budget_id.as_deref() == Some("of-customers"));
    let expired = store.key(&hash("expired")).await.unwrap().unwrap();
    assert_eq!(expired.expires, Timestamp::parse("2026-01-01T00:00:00Z"));
    let life = store.key(&hash("life")).await.unwrap().unwrap();
    assert_eq!((life.key_alias, life.spend), (None, Money::nanos(300_000_000)), "two keys of one alias; 0.1 + 0.2");
    for refused in ["session", "yearly"] {
        assert_eq!(store.key(&hash(refused)).await.unwrap(), None, "{refused}");
    }
    let rotated = store.identity(&hash("rotated"), now()).await.unwrap().unwrap();
    assert_eq!(rotated.key.unwrap().token, full.token);
    assert_eq!(rotated.dangling, None);
    assert_eq!(store.identity(&hash("over"), now()).await.unwrap(), None);
    let orphan = store.identity(&hash("orphan"), now()).await.unwrap().unwrap();
    assert_eq!(orphan.dangling.as_deref(), Some("team \"gone\""));
}

async fn owners(store: &SharedStore) {
    let ada = store.user("ada").await.unwrap().unwrap();
    assert_eq!((ada.user_role, ada.sso_user_id.as_deref()), (Some(Role::ProxyAdmin), Some("sso-ada")));
    assert_eq!(
        (&ada.admin_of[..], ada.is_active(), ada.spend),
        (&["org".into()][..], false, Money::nanos(300_000_000))
    );
    let scope = Scope::new(ScopeKind::User, &["ada"]);
    assert_eq!(spent(store, scope, Some("7d")).await, Money::nanos(300_000_000));
    assert_eq!(store.user("bob").await.unwrap().unwrap().user_role, None);
    assert_eq!(store.user("litellm-proxy-budget").await.unwrap(), None);
    assert_eq!(spent(store, Scope::global(), None).await, money(12.5));
    assert_eq!(spent(store, Scope::global(), Some("30d")).await, money(12.5));

    let team = store.team("team").await.unwrap().unwrap();
    assert_eq!((team.team_alias.as_deref(), team.blocked), (Some("Search"), true));
    assert_eq!((team.team_member_budget_id.as_deref(), team.limits.model_rpm_limit["gpt-4o"]), (Some("of-members"), 3));
    assert_eq!((team.model_aliases["fast"].as_str(), team.tags.len()), ("gpt-4o-mini", 1));
    assert_eq!(serde_json::Value::Object(team.metadata), json!({"owner": "search"}));
    assert_eq!((team.limits.budget_limits.len(), team.spend), (1, money(1.25)));
    let scope = Scope::new(ScopeKind::Team, &["team"]);
    assert_eq!(spent(store, scope.clone(), Some("30d")).await, Money::ZERO, "its reset was due an hour ago");
    assert_eq!(spent(store, scope.clone(), Some("1d")).await, money(0.5), "a window of its own");
    assert_eq!(spent(store, scope, Some("1h")).await, Money::ZERO, "a window that is over");
    assert_eq!(store.team("negative").await.unwrap(), None, "no row whose bound cannot be read");

    let members = store.members_of_team("team").await.unwrap();
    let named: Vec<_> =
        members.iter().map(|member| (&*member.user_id, member.role, member.budget_id.as_deref())).collect();
    let plain = |id| (id, TeamRole::User, None);
    assert_eq!(
        named,
        [("ada", TeamRole::Admin, None), plain("bob"), ("joined", TeamRole::User, Some("empty")), plain("legacy")]
    );
    assert_eq!(members[0].spend, money(3.0));
    let scope = Scope::new(ScopeKind::Member, &["team", "ada"]);
    assert_eq!(spent(store, scope, Some("1d")).await, money(0.75), "in the period of the team's budget for members");
    let organization = store.organization("org").await.unwrap().unwrap();
    assert_eq!((organization.budget_id.as_deref(), organization.spend), (Some("of-org"), money(0.125)));
    assert_eq!(spent(store, Scope::new(ScopeKind::Organization, &["org"]), Some("30d")).await, money(0.125));
    let project = store.project("project").await.unwrap().unwrap();
    assert_eq!((project.limits.model_rpm_limit["gpt-4o"], project.spend), (9, money(0.25)));
    assert_eq!(project.metadata["description"], "crawls");
}

async fn others(store: &SharedStore) {
    let budget = store.budget("of-org").await.unwrap().unwrap();
    assert_eq!(budget.limits.max_budget, Some(Money::nanos(300_000_000)), "0.1 + 0.2");
    assert_eq!(store.budget("of-members").await.unwrap().unwrap().allowed_models, ["gpt-4o-mini"]);
    assert_eq!(store.budget("not-a-number").await.unwrap(), None);
    let customer = store.end_user("customer").await.unwrap().unwrap();
    assert!(customer.blocked && customer.limits.max_budget == Some(money(1.0)));
    assert_eq!((customer.spend, &customer.metadata["default_model"]), (money(0.875), &json!("gpt-4o")));
    assert!(store.end_user("plain").await.unwrap().is_some());
    let unbounded = store.end_user("unbounded").await.unwrap().unwrap();
    assert_eq!(unbounded.dangling.as_deref(), Some("budget \"not-a-number\""), "its bound cannot be read");
    let tags = store.tags().await.unwrap();
    assert_eq!((&*tags[0].tag_name, tags[0].spend, tags[0].limits.max_budget), ("prod", money(0.5), Some(money(0.3))));
    let groups = store.access_groups().await.unwrap();
    let of = |name: &str| groups.iter().find(|group| &*group.access_group_name == name).unwrap();
    assert_eq!((of("premium").access_model_names.len(), of("premium").budget_id.as_deref()), (1, Some("of-org")));
    assert_eq!((of("premium").spend, of("configured").spend), (money(2.0), money(1.0)));
}

/// Nothing is dropped in silence, and no secret is told.
fn remarks(report: &Report) {
    let keys = "LiteLLM_VerificationToken";
    for (table, column, count, example) in [
        ("LiteLLM_BudgetTable", "max_budget", 1, "not-a-number"),
        ("LiteLLM_BudgetTable", "temp_budget_increase", 1, "of-members"),
        ("LiteLLM_UserTable", "user_role", 1, "bob"),
        ("LiteLLM_UserTable", "metadata.guardrails", 1, "ada"),
        ("LiteLLM_TeamTable", "max_budget", 1, "negative"),
        ("LiteLLM_TeamTable", "members_with_roles", 1, "nobody@example.com"),
        ("LiteLLM_TeamMembership", "team_id", 2, "ada in gone"),
        (keys, "invented_later", 2, "orphan"),
        (keys, "token", 1, "a key without an alias"),
        (keys, "team_id", 1, "session"),
        (keys, "team_id", 1, "orphan"),
        (keys, "budget_duration", 1, "yearly"),
        (keys, "", 1, "full"),
        (keys, "object_permission_id", 1, "full"),
        (keys, "config", 1, "full"),
        (keys, "model_spend", 1, "full"),
        (keys, "model_max_budget", 1, "full"),
        (keys, "metadata.mcp_rpm_limit", 1, "full"),
        ("LiteLLM_JWTKeyMapping", "", 1, "m2"),
        ("LiteLLM_BudgetWindowSpend", "entity_id", 1, "user gone"),
        ("LiteLLM_BudgetWindowSpend", "entity_type", 1, ""),
        (keys, "budget_limits", 1, "full"),
        ("LiteLLM_TagTable", "model_info", 1, "prod"),
        ("LiteLLM_EndUserTable", "budget_id", 1, "unbounded"),
        ("LiteLLM_AccessGroupTable", "access_mcp_server_ids", 1, "group"),
    ] {
        let found = report.remarks.iter().any(|remark| {
            (remark.table.as_str(), remark.column.as_str(), remark.count) == (table, column, count)
                && remark.examples.iter().any(|known| known == example)
        });
        assert!(found, "{table}.{column} {example}: {:#?}", report.remarks);
    }
    let about = |table: &str, column: &str| {
        report.remarks.iter().any(|remark| remark.table == table && remark.column == column && remark.count == 0)
    };
    assert!(
        about("LiteLLM_SpendLogs", "")
            && about("LiteLLM_CredentialsTable", "")
            && about("LiteLLM_UserTable", "password")
    );
    assert!(!about("LiteLLM_Config", ""), "it is empty");
    let all = serde_json::to_string(report).unwrap();
    assert!(!all.contains("geheim") && !all.contains("in-the-clear"), "{all}");
    for name in ["full", "blocked", "session"] {
        assert!(!all.contains(&hash(name).to_string()), "no whole hash");
    }
}

async fn an_older_schema_is_read_as_far_as_it_goes(store: &SharedStore) {
    let old = format!(
        "CREATE TABLE \"LiteLLM_VerificationToken\" (\"token\" TEXT PRIMARY KEY, \"spend\" FLOAT8, \
         \"max_budget\" FLOAT8, \"metadata\" JSONB, \"expires\" TIMESTAMPTZ); \
         INSERT INTO \"LiteLLM_VerificationToken\" VALUES \
         ('{}', 0.25, NULL, '\"{{\\\"tags\\\": [\\\"a\\\"]}}\"', '2027-01-01 01:00+01')",
        hash("old")
    );
    let url = database(&["CREATE TABLE unrelated (id INT)"]);
    let nothing = litellm(&url, store, options(), &mut |_| {}).await;
    assert!(matches!(nothing, Err(ImportError::NoTables(_))));
    let url = database(&[&old]);
    let report = import(&url, store, options()).await;
    assert_eq!(report.tables.iter().map(|table| table.imported).sum::<u64>(), 1);
    let key = store.key(&hash("old")).await.unwrap().unwrap();
    assert_eq!((key.spend, key.tags.len()), (money(0.25), 1), "JSON inside JSON is read too");
    assert_eq!(key.expires, Timestamp::parse("2027-01-01T00:00:00Z"));
}

async fn thousands_of_rows_are_read_in_batches_and_the_work_is_told(store: &SharedStore) {
    let sql = "INSERT INTO \"LiteLLM_VerificationToken\" (\"token\", \"spend\") \
               SELECT encode(sha256(convert_to('sk-' || n, 'UTF8')), 'hex'), 0.000000001 * n \
               FROM generate_series(1, 2500) n";
    let url = database(&[SCHEMA, sql]);
    let mut told = Vec::new();
    let report = litellm(&url, store, options(), &mut |what| told.push(what.to_owned())).await.unwrap();
    assert_eq!(report.opening_nanodollars, 2_500 * 2_501 / 2, "to the last nano-dollar");
    assert!(told.contains(&"LiteLLM_VerificationToken: 2000 rows".to_owned()), "{told:?}");
    assert!(store.verify().await.unwrap().differences.is_empty());
    assert_eq!(store.key(&KeyHash::of("sk-7")).await.unwrap().unwrap().spend, Money::nanos(7));
}

async fn beside_a_running_server_the_spend_of_the_whole_gate_stays_as_it_counts_it(store: &SharedStore) {
    let url = database(&[SCHEMA, &rows()]);
    let report = import(&url, store, Options { server_runs: true, ..options() }).await;
    assert_eq!(spent(store, Scope::global(), None).await, Money::ZERO);
    assert!(report.accounts.iter().all(|account| account.scope != Scope::global()));
    assert!(report.remarks.iter().any(|remark| remark.column == "spend" && remark.table == "LiteLLM_UserTable"));
    assert!(store.key(&hash("full")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_named_without_its_password() {
    let temp = TempStore::sqlite().await;
    let url = Secret::new("postgres://litellm:geheim@127.0.0.1:1/litellm");
    let error = litellm(&url, &temp.store, options(), &mut |_| {}).await.err().map(|error| error.to_string());
    let error = error.unwrap();
    assert!(error.contains("cannot connect") && !error.contains("geheim"), "{error}");
}

/// A server that speaks TLS with a certificate of an authority of its own, and that authority's file.
fn server_with_tls() -> (Postgres, std::path::PathBuf) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    let authority = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let roots = params.self_signed(&authority).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, authority);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap().pem();

    let server = Postgres::start(&[]);
    let folder = server.folder().to_owned();
    let owner = std::fs::metadata(&folder).unwrap();
    for (name, text) in [("roots.pem", roots), ("cert.pem", certificate), ("key.pem", key.serialize_pem())] {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    for (setting, file) in [("ssl_cert_file", "cert.pem"), ("ssl_key_file", "key.pem")] {
        let file = folder.join(file);
        server.execute("postgres", &format!("ALTER SYSTEM SET {setting} = '{}'", file.display()));
    }
    server.execute("postgres", "ALTER SYSTEM SET ssl = on");
    server.execute("postgres", "SELECT pg_reload_conf()");
    crate::real::wait::eventually_blocking("it speaks TLS", || match server.execute("postgres", "SHOW ssl") {
        on if on == "on" => Ok(()),
        off => Err(off),
    });
    (server, folder.join("roots.pem"))
}

#[tokio::test]
async fn a_server_is_believed_only_where_somebody_trusted_signed_for_it() {
    let (server, roots) = server_with_tls();
    server.execute("postgres", SCHEMA);
    let url = server.url("postgres");
    let temp = TempStore::sqlite().await;
    let roots = roots.display();
    for (query, connects) in [
        (format!("sslmode=require&sslrootcert={roots}"), true),
        (format!("sslmode=verify-full&sslrootcert={roots}"), true),
        ("sslmode=disable".to_owned(), true),
        ("sslmode=require".to_owned(), false),
        ("sslmode=prefer".to_owned(), false),
        ("sslmode=require&sslrootcert=/no/such/file".to_owned(), false),
    ] {
        let url = Secret::new(format!("{url}?{query}"));
        let done = litellm(&url, &temp.store, options(), &mut |_| {}).await;
        assert_eq!(done.is_ok(), connects, "{query}: {done:?}");
        if let Err(error) = done
            && !query.contains("no/such")
        {
            assert!(error.to_string().contains("sslrootcert=FILE"), "{error}");
        }
    }
    let plain = Postgres::shared().database();
    let url = Secret::new(format!("{plain}?sslmode=require"));
    assert!(litellm(&url, &temp.store, options(), &mut |_| {}).await.is_err(), "no TLS where it is required");
}
