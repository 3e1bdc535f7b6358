//! The files of `deploy/docker` and `deploy/compose`, as far as they can be tested where no container engine is at hand:
//! nothing here builds an image or starts a container. The Compose file is read as Compose reads it and every reference
//! in it is followed; Envoy itself validates its configuration; `tollward config validate` reads Tollward's; a real Redis
//! runs the service's own command with the service's own file; the Dockerfile is taken apart, and Cargo reads its
//! manifest from exactly the files that reach the builder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "deploy/compose.rs"]
mod compose;
#[path = "deploy/dockerfile.rs"]
mod dockerfile;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use compose::{Otherwise, names};
use support::{Value, json};

/// As in a filled in `.env`.
const SECRETS: [(&str, &str); 3] = [
    ("TOLLWARD_MASTER_KEY", "sk-the-operators-key-of-the-compose-test"),
    ("POSTGRES_PASSWORD", "5ca1ab1e"),
    ("REDIS_PASSWORD", "decade"),
];
const REPLICAS: [&str; 2] = ["tollward-1", "tollward-2"];

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn file(relative: &str) -> String {
    std::fs::read_to_string(path(relative)).unwrap_or_else(|problem| panic!("{relative}: {problem}"))
}

fn yaml(relative: &str) -> Value {
    serde_saphyr::from_str(&file(relative)).unwrap_or_else(|problem| panic!("{relative}: {problem}"))
}

fn compose_file() -> (Value, BTreeMap<String, Otherwise>) {
    compose::read(&file("deploy/compose/compose.yaml"), &BTreeMap::from(SECRETS))
}

fn services() -> serde_json::Map<String, Value> {
    compose_file().0["services"].as_object().unwrap().clone()
}

/// `name` and `value` of each line, those in comments too where `all`.
fn env_example(all: bool) -> BTreeMap<String, String> {
    let text = file("deploy/compose/.env.example");
    let lines = text.lines().map(|line| if all { line.trim_start_matches('#') } else { line });
    let pairs = lines.filter_map(|line| line.split_once('='));
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || "_0123456789".contains(c));
    pairs.filter(|(name, _)| is_name(name)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

// --- the Compose file ------------------------------------------------------------------------------------------------

#[test]
fn the_example_environment_names_every_variable_and_holds_no_secret() {
    let (_, named) = compose_file();
    let refused: BTreeSet<&str> =
        named.iter().filter(|(_, otherwise)| **otherwise == Otherwise::Refuse).map(|(name, _)| name.as_str()).collect();
    assert_eq!(refused, SECRETS.iter().map(|(name, _)| *name).collect(), "nothing starts without its secrets");
    let required = env_example(false);
    assert_eq!(required.keys().map(String::as_str).collect::<BTreeSet<_>>(), refused);
    assert!(required.values().all(String::is_empty), "no secret is checked in");
    let all = env_example(true);
    assert_eq!(all.keys().collect::<BTreeSet<_>>(), named.keys().collect(), "each variable is explained");
    for (name, otherwise) in &named {
        if let Otherwise::Default(default) = otherwise {
            assert_eq!(&all[name], default, "the default of {name}");
        }
    }
    let ignored = file(".gitignore");
    assert!(ignored.lines().any(|line| line == "/deploy/compose/.env"), "the filled in file stays out of git");
}

#[test]
fn every_reference_of_the_compose_file_resolves() {
    let (tree, _) = compose_file();
    let (volumes, networks) = (names(&tree["volumes"]), names(&tree["networks"]));
    let services = services();
    let targets: BTreeSet<String> =
        dockerfile::stages(&file("deploy/docker/Dockerfile")).into_iter().map(|stage| stage.name).collect();
    let (mut used_volumes, mut used_networks, mut published) = (Vec::new(), BTreeSet::new(), Vec::new());
    for (name, service) in &services {
        for network in names(&service["networks"]) {
            assert!(networks.contains(&network), "{name}: network {network}");
            used_networks.insert(network);
        }
        for (on, how) in service["depends_on"].as_object().into_iter().flatten() {
            let condition = how["condition"].as_str().unwrap();
            assert!(services.contains_key(on), "{name} depends on {on}");
            assert_eq!(condition, "service_healthy", "{name} depends on {on}");
            let shared = names(&service["networks"]);
            assert!(!shared.is_disjoint(&names(&services[on]["networks"])), "{name} reaches {on}");
        }
        for mount in names(&service["volumes"]) {
            let source = mount.split(':').next().unwrap().to_owned();
            if let Some(relative) = source.strip_prefix("./") {
                assert!(path("deploy/compose").join(relative).is_file(), "{name} mounts {source}");
                assert!(mount.ends_with(":ro"), "{name}: {mount}");
            } else {
                assert!(volumes.contains(&source), "{name}: volume {source}");
                used_volumes.push(source);
            }
        }
        for port in names(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} on loopback alone");
            published.push(port.split(':').nth(1).unwrap().to_owned());
        }
        if let Some(build) = service["build"].as_object() {
            let context = path("deploy/compose").join(build["context"].as_str().unwrap());
            assert_eq!(context.canonicalize().unwrap(), path(".").canonicalize().unwrap(), "{name}");
            assert!(context.join(build["dockerfile"].as_str().unwrap()).is_file(), "{name}");
            assert!(targets.contains(build["target"].as_str().unwrap()), "{name}: target {}", build["target"]);
        }
        let (_, tag) = service["image"].as_str().unwrap().rsplit_once(':').expect("a tag");
        assert!(!tag.contains("latest"), "{name}: {tag}");
        let check = &service["healthcheck"];
        assert!(check["test"].as_array().is_some_and(|test| test.len() > 1), "{name} has a health check");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
    }
    assert_eq!(used_networks, networks);
    assert_eq!(used_volumes.iter().cloned().collect::<BTreeSet<_>>(), volumes);
    assert_eq!(used_volumes.len(), volumes.len(), "each service writes into a volume of its own: {used_volumes:?}");
    assert_eq!(published.iter().collect::<BTreeSet<_>>().len(), published.len(), "{published:?}");
}

#[test]
fn what_needs_no_privilege_has_none() {
    for (name, service) in services() {
        if name != "postgres" {
            assert_eq!(service["read_only"], json!(true), "{name}");
            assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        }
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert_eq!(service["privileged"], Value::Null, "{name}");
    }
}

#[test]
fn the_replicas_differ_in_volume_and_port_alone() {
    let mut replicas = REPLICAS.map(|name| services()[name].clone());
    let volume = |replica: &Value| {
        let mounts = names(&replica["volumes"]);
        let named = mounts.iter().find(|mount| !mount.starts_with('.')).unwrap();
        named.split_once(':').map(|(name, at)| (name.to_owned(), at.to_owned())).unwrap()
    };
    let [(first, at), (second, _)] = [volume(&replicas[0]), volume(&replicas[1])];
    assert_ne!(first, second);
    for replica in &mut replicas {
        replica["volumes"].take();
        replica["ports"].take();
    }
    assert_eq!(replicas[0], replicas[1]);
    let spool = yaml("deploy/compose/tollward.yaml")["ledger"]["spool"].as_str().unwrap().to_owned();
    assert!(Path::new(&spool).starts_with(&at), "the spool {spool} is on the volume");
}

#[test]
fn the_stores_are_where_tollward_looks_for_them() {
    let services = services();
    let environment = &services[REPLICAS[0]]["environment"];
    let (postgres, redis) = (&services["postgres"]["environment"], &services["redis"]["environment"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!(
        text(&environment["DATABASE_URL"]),
        format!(
            "postgres://{}:{}@postgres:5432/{}?sslmode=disable",
            text(&postgres["POSTGRES_USER"]),
            text(&postgres["POSTGRES_PASSWORD"]),
            text(&postgres["POSTGRES_DB"])
        )
    );
    assert_eq!(text(&environment["REDIS_URL"]), format!("redis://:{}@redis:6379", text(&redis["REDISCLI_AUTH"])));
}

// --- Envoy -----------------------------------------------------------------------------------------------------------

#[test]
fn envoy_accepts_its_configuration() {
    let output = Command::new(support::stack::tool("envoy"))
        .args(["--mode", "validate", "--log-level", "warning", "--config-path", "deploy/compose/envoy.yaml"])
        .current_dir(path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("deprecated"), "{said}");
}

/// Filters, routes and bounds are those of `deploy/envoy/envoy.yaml`, to the letter; addresses and health checks differ.
#[test]
fn envoys_filters_are_those_of_the_file_that_is_tested_everywhere() {
    let (mut ours, mut shipped) = (yaml("deploy/compose/envoy.yaml"), yaml("deploy/envoy/envoy.yaml"));
    let address = "/static_resources/listeners/0/address/socket_address/address";
    assert_eq!(ours.pointer(address), Some(&json!("0.0.0.0")));
    *ours.pointer_mut(address).unwrap() = shipped.pointer(address).unwrap().clone();
    for cluster in ours["static_resources"]["clusters"].as_array_mut().unwrap() {
        let cluster = cluster.as_object_mut().unwrap();
        assert_eq!(cluster.remove("type"), Some(json!("STRICT_DNS")));
        cluster.remove("health_checks");
        cluster.remove("load_assignment");
    }
    for cluster in shipped["static_resources"]["clusters"].as_array_mut().unwrap() {
        let cluster = cluster.as_object_mut().unwrap();
        assert_eq!(cluster.remove("type"), Some(json!("STATIC")));
        cluster.remove("load_assignment");
    }
    assert_eq!(ours, shipped);
}

#[test]
fn envoys_clusters_are_services_it_reaches_on_ports_they_listen_on() {
    let (envoy, services) = (yaml("deploy/compose/envoy.yaml"), services());
    let tollward = yaml("deploy/compose/tollward.yaml");
    let grpc = tollward["listen"]["grpc"].as_str().unwrap().rsplit_once(':').unwrap().1.parse::<u64>().unwrap();
    let upstream = dockerfile::stages(&file("deploy/docker/Dockerfile"));
    let upstream = upstream.iter().find(|stage| stage.name == "upstream").unwrap();
    let served: u64 = upstream.last("CMD").exec_form()[1].rsplit_once(':').unwrap().1.parse().unwrap();
    let endpoints = |cluster: &Value| -> Vec<(String, u64)> {
        let endpoints = cluster.pointer("/load_assignment/endpoints/0/lb_endpoints").unwrap().as_array().unwrap();
        let places = endpoints.iter().map(|endpoint| &endpoint["endpoint"]["address"]["socket_address"]);
        places.map(|at| (at["address"].as_str().unwrap().to_owned(), at["port_value"].as_u64().unwrap())).collect()
    };
    let mut found = BTreeMap::new();
    for cluster in envoy["static_resources"]["clusters"].as_array().unwrap() {
        for (service, _) in endpoints(cluster) {
            let shared = names(&services["envoy"]["networks"]);
            assert!(!shared.is_disjoint(&names(&services[&service]["networks"])), "envoy reaches {service}");
            assert!(names(&services["envoy"]["depends_on"]).contains(&service), "envoy waits for {service}");
        }
        found.insert(cluster["name"].as_str().unwrap(), endpoints(cluster));
    }
    let both = REPLICAS.map(|replica| (replica.to_owned(), grpc)).to_vec();
    assert_eq!(found, BTreeMap::from([("tollward", both), ("upstream", vec![("upstream".to_owned(), served)])]));

    // What is published and asked is what listens.
    let listener = envoy.pointer("/static_resources/listeners/0/address/socket_address/port_value").unwrap();
    assert_eq!(services["envoy"]["ports"], json!([format!("127.0.0.1:10000:{listener}")]));
    let admin = envoy.pointer("/admin/address/socket_address/port_value").unwrap();
    let check = services["envoy"]["healthcheck"]["test"].to_string();
    assert!(check.contains(&format!("/dev/tcp/127.0.0.1/{admin} ")), "{check}");
    for replica in REPLICAS {
        let port = |name: &str| tollward["listen"][name].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
        let published = services[replica]["ports"][0].as_str().unwrap();
        assert!(published.ends_with(&format!(":{}", port("http"))), "{published}");
        assert_eq!(services[replica]["healthcheck"]["test"][3], format!("127.0.0.1:{}", port("ops")));
    }
    let check = &services["upstream"]["healthcheck"]["test"];
    assert_eq!(check[4], format!("127.0.0.1:{served}"));
}

// --- Tollward and Redis ----------------------------------------------------------------------------------------------

/// The configuration reads its secrets from the environment that the Compose file gives, and lets in Envoy's network.
#[test]
fn tollward_accepts_its_configuration() {
    let (tree, _) = compose_file();
    let given = &tree["services"][REPLICAS[0]]["environment"];
    let subnet = tree.pointer("/networks/gate/ipam/config/0/subnet").unwrap();
    assert_eq!(&given["GATE_SUBNET"], subnet, "the addresses that are let in are those of Envoy's network");
    assert!(names(&tree["services"]["envoy"]["networks"]).contains("gate"));
    let outsiders = tree["services"].as_object().unwrap().iter().filter(|(name, service)| {
        *name != "envoy" && !REPLICAS.contains(&name.as_str()) && names(&service["networks"]).contains("gate")
    });
    assert_eq!(outsiders.count(), 0, "nobody else is on that network");

    let text = file("deploy/compose/tollward.yaml");
    let environment: BTreeMap<String, String> = given
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    for name in environment.keys() {
        assert!(text.contains(name), "{name} is given and not read");
    }
    let config = yaml("deploy/compose/tollward.yaml");
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("tollward.yaml");
    std::fs::write(&at, config.to_string()).unwrap();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let output = support::cli::run(&["config", "validate", "--config", at.to_str().unwrap()], &environment);
    assert!(output.status.success(), "{}", support::cli::text(&output));
}

/// The command of the service, run with the file of the service, on a port and in a folder of this test.
#[test]
fn redis_starts_as_the_compose_file_starts_it() {
    let service = services()["redis"].clone();
    let folder = support::folder::Folder::new();
    let conf = folder.path().join("redis.conf");
    let shipped = file("deploy/compose/redis.conf");
    let command = service["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let command: Vec<String> =
        command.map(|word| word.replace("/etc/redis/redis.conf", conf.to_str().unwrap())).collect();
    let arguments: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let password = service["environment"]["REDISCLI_AUTH"].as_str().unwrap().to_owned();
    let environment = [("REDISCLI_AUTH".to_owned(), password.clone())];
    let (child, port) = (0..5)
        .find_map(|_| {
            let port = support::port::free();
            let ours = shipped.replace("dir /data", &format!("dir {}", folder.path().display()));
            std::fs::write(&conf, format!("{ours}port {port}\n").replace("bind * -::*", "bind 127.0.0.1")).unwrap();
            let log = folder.path().join("log");
            let _ = std::fs::remove_file(&log);
            let child = support::child::Child::start("redis", Path::new(&command[0]), &arguments, &environment, log);
            let came_up = support::wait::eventually_blocking("redis answers", || {
                if !child.runs() {
                    return Ok(false);
                }
                let told = ask_redis(port, Some(&password), &["INFO", "server"]);
                if told.contains(&format!("process_id:{}\r", child.pid())) { Ok(true) } else { Err(child.log()) }
            });
            assert!(came_up || child.log().contains("in use"), "{}", child.log());
            came_up.then_some((child, port))
        })
        .expect("a free port");
    let shown = std::fs::read(format!("/proc/{}/cmdline", child.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&shown).contains(&password), "the list of processes does not show the password");
    assert!(ask_redis(port, None, &["PING"]).starts_with("NOAUTH"));
    for (name, value) in [("maxmemory-policy", "noeviction"), ("appendonly", "yes"), ("maxmemory", "268435456")] {
        assert_eq!(ask_redis(port, Some(&password), &["CONFIG", "GET", name]).lines().nth(1), Some(value), "{name}");
    }
}

fn ask_redis(port: u16, password: Option<&str>, command: &[&str]) -> String {
    let mut cli = Command::new("redis-cli");
    cli.args(["-p", &port.to_string()]).args(command).env_remove("REDISCLI_AUTH");
    if let Some(password) = password {
        cli.env("REDISCLI_AUTH", password);
    }
    String::from_utf8_lossy(&cli.output().expect("redis-cli runs").stdout).into_owned()
}

// --- the Dockerfile --------------------------------------------------------------------------------------------------

#[test]
fn the_images_need_neither_root_nor_a_shell() {
    let stages = dockerfile::stages(&file("deploy/docker/Dockerfile"));
    assert_eq!(stages.last().unwrap().name, "tollward", "what is built where no target is named");
    for name in ["tollward", "upstream"] {
        let stage = stages.iter().find(|stage| stage.name == name).unwrap();
        assert!(stage.base.starts_with("gcr.io/distroless/"), "{}", stage.base);
        let user: Vec<u32> = stage.last("USER").rest.split(':').map(|id| id.parse().expect("a number")).collect();
        assert!(user.len() == 2 && user.iter().all(|id| *id != 0), "{user:?}");
        assert_eq!(stage.all("RUN").count(), 0, "there is no shell to run anything");
        let program = stage.last("ENTRYPOINT").exec_form()[0].clone();
        assert!(stage.all("COPY").any(|copy| copy.operands().last() == Some(&program.as_str())), "{program}");
        assert!(!stage.last("CMD").exec_form().is_empty());
    }
}

#[test]
fn the_image_says_what_it_is() {
    let stages = dockerfile::stages(&file("deploy/docker/Dockerfile"));
    let stage = stages.last().unwrap();
    let labels = &stage.last("LABEL").rest;
    for label in [
        format!("image.version=\"{}\"", env!("CARGO_PKG_VERSION")),
        "image.licenses=\"Apache-2.0\"".to_owned(),
        format!("image.base.name=\"{}\"", stage.base),
        "image.title=".to_owned(),
        "image.description=".to_owned(),
        "image.revision=".to_owned(),
    ] {
        assert!(labels.contains(&format!("org.opencontainers.{label}")), "{label}: {labels}");
    }
    let listen = yaml("deploy/compose/tollward.yaml")["listen"].clone();
    let exposed: BTreeSet<String> = stage.last("EXPOSE").operands().into_iter().map(str::to_owned).collect();
    let ports =
        ["grpc", "http", "ops"].map(|name| listen[name].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned());
    assert_eq!(exposed, BTreeSet::from(ports));
    let config =
        stage.last("ENV").rest.strip_prefix("TOLLWARD_CONFIG=").expect("where the configuration is").to_owned();
    for replica in REPLICAS {
        let service = &services()[replica];
        let mounts = names(&service["volumes"]);
        assert!(mounts.contains(&format!("./tollward.yaml:{config}:ro")), "{mounts:?}");
        // The volume is where the image has a folder of the image's user.
        let state = stage.last("WORKDIR").rest.clone();
        assert!(mounts.iter().any(|mount| mount.ends_with(&format!(":{state}"))), "{mounts:?}");
        let owner = format!("{} {state}", stage.last("USER").rest);
        let owned = |copy: &dockerfile::Instruction| {
            format!("{} {}", copy.option("chown").unwrap_or("root"), copy.operands().last().unwrap()) == owner
        };
        assert!(stage.all("COPY").any(owned), "{owner}");
    }
}

#[test]
fn what_is_built_and_stood_on_is_pinned() {
    let stages = dockerfile::stages(&file("deploy/docker/Dockerfile"));
    let mut known: Vec<&str> = Vec::new();
    for stage in &stages {
        if !known.contains(&stage.base.as_str()) {
            let (_, tag) = stage.base.rsplit_once(':').unwrap_or_else(|| panic!("{} has no tag", stage.base));
            assert!(!tag.contains("latest"), "{}", stage.base);
        }
        known.push(&stage.name);
        assert_eq!(stage.all("ADD").count(), 0, "nothing is fetched by address: {}", stage.name);
        for copy in stage.all("COPY").filter(|copy| copy.option("from").is_some()) {
            assert!(known.contains(&copy.option("from").unwrap()), "{copy:?}");
        }
        // `scripts/release.py` locks its builds by itself.
        for run in stage.all("RUN").filter(|run| run.rest.contains("cargo build")) {
            assert!(run.rest.contains("--release") && run.rest.contains("--locked"), "{run:?}");
        }
    }
    // The compiler is one that the crate allows, on the Debian whose C library the last stage has.
    let (version, debian) = stages[0].base.strip_prefix("rust:").unwrap().split_once('-').unwrap();
    let number = |version: &str| version.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>();
    assert!(number(version) >= number(env!("CARGO_PKG_RUST_VERSION")), "{version}");
    assert_eq!((debian, stages.last().unwrap().base.contains("debian12")), ("bookworm", true));
}

#[test]
fn the_builder_gets_what_it_copies_and_nothing_else() {
    let ignore = file(".dockerignore");
    for kept_out in ["target", ".git", ".tools", "deploy", "docs", "tests", "tollward.db", "tollward.yaml", ".env"] {
        assert!(!dockerfile::is_sent(&ignore, kept_out), "{kept_out}");
    }
    let stages = dockerfile::stages(&file("deploy/docker/Dockerfile"));
    let context = tempfile::tempdir().unwrap();
    let mut copied = BTreeSet::new();
    for copy in stages.iter().flat_map(|stage| stage.all("COPY")).filter(|copy| copy.option("from").is_none()) {
        let mut operands = copy.operands();
        let to = operands.pop().unwrap();
        for source in operands {
            assert!(path(source).exists() && dockerfile::is_sent(&ignore, source), "{source}");
            let to = if to.ends_with('/') { context.path().join(to).join(source) } else { context.path().join(to) };
            let done = Command::new("cp").arg("-R").arg(path(source)).arg(&to).status().unwrap();
            assert!(done.success(), "{source}");
            copied.insert(source.to_owned());
        }
    }
    let sent = ignore.lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    assert_eq!(copied, sent, "what is sent is copied");

    // Cargo finds all that the manifest names.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(context.path());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let targets = metadata["packages"][0]["targets"].as_array().unwrap();
    for (kind, name) in [("bin", "tollward"), ("example", "upstream"), ("custom-build", "build-script-build")] {
        assert!(targets.iter().any(|target| target["kind"][0] == kind && target["name"] == name), "{kind} {name}");
    }
}
