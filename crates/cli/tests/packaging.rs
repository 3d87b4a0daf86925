//! The packaging says what is so: the unit is one that systemd takes, and the container file builds what is here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The values of a key of a unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn systemd_takes_the_unit() {
    let unit = read("packaging/igor.service");
    let installed = "/usr/local/bin/igor";
    assert_eq!(values(&unit, "ExecStart"), [format!("{installed} node start --json")]);
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("SKIPPED: there is no systemd-analyze here to check packaging/igor.service with");
        return;
    }
    // What it names must be there: the binary of this test is.
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("igor.service");
    let verify = |unit: &str| {
        fs::write(&path, unit.replace(installed, env!("CARGO_BIN_EXE_igor"))).expect("the unit can be written");
        let checked = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
        let checked = checked.expect("systemd-analyze runs");
        (checked.status.success(), String::from_utf8_lossy(&checked.stderr).into_owned())
    };
    let (good, said) = verify(&unit);
    assert!(good && !said.contains("igor.service"), "{said}");
    let (_, said) = verify(&unit.replace("Type=notify", "Type=nonsense"));
    assert!(said.contains("igor.service"), "what is wrong is seen: {said}");
}

#[test]
fn the_unit_keeps_what_it_says() {
    let unit = read("packaging/igor.service");
    for (key, value) in [
        ("Type", "notify"),
        // Above the time in which agents are handed on (`DRAIN_WITHIN`), with a minute for what stays.
        ("TimeoutStopSec", "180"),
        ("Restart", "on-failure"),
        ("DynamicUser", "yes"),
        ("StateDirectory", "igor"),
        ("StateDirectoryMode", "0700"),
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("Environment", "IGOR_HOME=/var/lib/igor"),
    ] {
        assert_eq!(values(&unit, key), [value], "{key}");
    }
    assert!(values(&unit, "MemoryDenyWriteExecute").is_empty(), "agents are compiled code");
}

#[test]
fn the_container_file_builds_what_is_here() {
    let file = read("packaging/Containerfile");
    let lines: Vec<Vec<&str>> = file.lines().map(|line| line.split_whitespace().collect()).collect();
    let of = |word: &str| -> Vec<&Vec<&str>> { lines.iter().filter(|line| line.first() == Some(&word)).collect() };
    let mut copied = Vec::new();
    for line in of("COPY") {
        let paths = &line[1..line.len() - 1];
        if let [from, path] = paths
            && from.starts_with("--from=")
        {
            assert_eq!((*from, *path), ("--from=build", "/src/target/dist/igor"));
            continue;
        }
        for path in paths {
            assert!(root().join(path).exists(), "{path} is copied and not there");
            copied.push(path.trim_end_matches('/').to_owned());
        }
    }
    // Every member of the workspace is in what is copied, or cargo finds no workspace.
    let manifest: toml::Table = read("Cargo.toml").parse().expect("Cargo.toml is TOML");
    for member in manifest["workspace"]["members"].as_array().expect("members") {
        let member = member.as_str().expect("a path");
        let top = member.split('/').next().unwrap_or(member);
        assert!(copied.iter().any(|path| path == top), "{member} is not copied");
    }
    let ignored = read("packaging/Containerfile.dockerignore");
    for path in &copied {
        assert!(!ignored.lines().any(|line| line == path), "{path} is copied and ignored");
    }
    // Rust as it is pinned, and the build as the guide has it.
    let toolchain: toml::Table = read("rust-toolchain.toml").parse().expect("the toolchain is TOML");
    let channel = toolchain["toolchain"]["channel"].as_str().expect("a channel");
    let from: Vec<_> = of("FROM").iter().map(|line| line[1]).collect();
    let version = from[0].strip_prefix("rust:").and_then(|tag| tag.split('-').next()).expect("a Rust image");
    assert!(channel == version || channel.starts_with(&format!("{version}.")), "{channel} and {version}");
    let build = "cargo build --profile dist --locked";
    assert!(of("RUN").iter().any(|line| line[1..].join(" ") == build));
    for page in ["CONTRIBUTING.md", "docs/guides/run-a-node.md"] {
        assert!(read(page).contains(build), "{page} has another build");
    }
    // Nobody is root in it, and what must stay is on a volume.
    assert_eq!(of("USER"), [&vec!["USER", "igor"]]);
    assert_eq!(of("VOLUME"), [&vec!["VOLUME", "/var/lib/igor"]]);
    assert_eq!(of("ENV"), [&vec!["ENV", "IGOR_HOME=/var/lib/igor"]]);
    // As long as the service has, also in what people copy.
    let time = values(&read("packaging/igor.service"), "TimeoutStopSec").concat();
    for page in ["packaging/Containerfile", "docs/guides/run-a-node.md"] {
        assert!(read(page).contains(&format!("--stop-timeout {time} ")), "{page} gives a stop another time");
    }
}
