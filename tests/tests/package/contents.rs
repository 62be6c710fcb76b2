//! What is in the package, before it is installed anywhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tidegate_tests::gateway::binary::tidegate;
use tidegate_tests::peer::debian::base::Architecture;
use tidegate_tests::peer::debian::deb;
use tidegate_tests::{peer, tidy};

/// What a user looks for in it; the rest of each line of `dpkg-deb -c` stands before.
const HOLDS: [&str; 15] = [
    "-rwxr-xr-x root/root ./usr/bin/tidegate",
    "-rwxr-xr-x root/root ./usr/lib/tidegate/start-gate",
    "-rw-r--r-- root/root ./usr/lib/systemd/system/tidegate.service",
    "-rw-r--r-- root/root ./usr/lib/sysusers.d/tidegate.conf",
    "-rw-r--r-- root/root ./usr/lib/udev/rules.d/70-tidegate.rules",
    "-rw-r--r-- root/root ./usr/lib/modules-load.d/tidegate.conf",
    "-rw-r--r-- root/root ./etc/tidegate/gateway.toml",
    "-rw-r--r-- root/root ./etc/tidegate/rules/example.rules",
    "-rw-r--r-- root/root ./etc/logrotate.d/tidegate",
    "-rw-r--r-- root/root ./usr/share/doc/tidegate/tidegate.cdx.json",
    "-rw-r--r-- root/root ./usr/share/man/man1/tidegate.1.gz",
    "-rw-r--r-- root/root ./usr/share/man/man1/tidegate-store-backup.1.gz",
    "-rw-r--r-- root/root ./usr/share/bash-completion/completions/tidegate",
    "-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_tidegate",
    "-rw-r--r-- root/root ./usr/share/fish/vendor_completions.d/tidegate.fish",
];

fn debian(file: &str) -> PathBuf {
    tidy::root().join("gateway/debian").join(file)
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn said(output: &Output) -> String {
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said += &String::from_utf8_lossy(&output.stderr);
    said
}

/// What a program says that must go well.
fn done(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    said(&output)
}

#[test]
fn the_package_holds_what_a_service_is_made_of() {
    for name in ["cargo-deb", "dpkg-deb"] {
        if peer::find(name, "package").is_none() {
            return;
        }
    }
    let package = deb::package(Architecture::Amd64, "0.0.7-1");
    let listed = done(Command::new("dpkg-deb").arg("-c").arg(&package));
    let listed: Vec<String> = listed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|words| {
            format!(
                "{} {} {}",
                words[0],
                words[1].replace("0/0", "root/root"),
                words[5]
            )
        })
        .collect();
    for line in HOLDS {
        assert!(
            listed.iter().any(|one| one == line),
            "{line} is not in\n{listed:#?}"
        );
    }
    let kept = done(
        Command::new("dpkg-deb")
            .args(["-I"])
            .arg(&package)
            .arg("conffiles"),
    );
    let mut kept: Vec<&str> = kept.lines().collect();
    kept.sort_unstable();
    let own = [
        "/etc/logrotate.d/tidegate",
        "/etc/tidegate/gateway.toml",
        "/etc/tidegate/rules/example.rules",
    ];
    assert_eq!(kept, own);
    let control = done(Command::new("dpkg-deb").arg("-f").arg(&package));
    assert!(control.contains("libc6 (>= 2.34)"), "{control}");
}

#[test]
fn the_configuration_and_the_rules_of_the_package_are_fine() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(dir.path().join("rules")).expect("a folder");
    let config = text(&debian("etc/gateway.toml"));
    let rules = text(&debian("etc/rules/example.rules"));
    std::fs::write(dir.path().join("rules/example.rules"), rules).expect("a file");
    let with_rules = config.replace("# rules  = \"rules\"", "rules = \"rules\"");
    assert_ne!(config, with_rules, "the line of the rules is there");
    for (text, expected) in [(config, "no rules"), (with_rules, "2 rules")] {
        let file = dir.path().join("gateway.toml");
        std::fs::write(&file, text).expect("a file");
        let checked = done(
            Command::new(tidegate())
                .arg("check")
                .arg("--config")
                .arg(&file),
        );
        assert!(
            checked.contains(expected) && !checked.contains("warning"),
            "{checked}"
        );
    }
}

/// A process that a script starts and that keeps debconf's pipe, or any output of the installer, holds it up.
#[test]
fn what_maintainer_scripts_start_inherits_nothing_of_the_installer() {
    for script in ["preinst", "postinst", "prerm", "postrm"] {
        let file = debian(script);
        done(Command::new("sh").arg("-n").arg(&file));
        for (at, line) in text(&file).lines().enumerate() {
            let words = line
                .trim_start()
                .trim_start_matches("if ")
                .trim_start_matches("! ");
            let starts = [
                "deb-systemd-invoke",
                "systemctl",
                "udevadm",
                "modprobe",
                "timeout",
                "systemd-sysusers",
            ];
            let starts = starts.iter().any(|name| words.starts_with(name));
            // What it writes goes nowhere, or to the script itself.
            let closed = line.contains("</dev/null >/dev/null 2>&1 3>&-")
                || line.contains("</dev/null 2>/dev/null 3>&- |");
            assert!(!starts || closed, "{script}:{}: {line}", at + 1);
        }
    }
}

#[test]
fn the_completions_of_the_package_are_those_of_the_program() {
    if peer::find("bash", "package").is_none() {
        return;
    }
    let program = tidegate();
    let folder = program.parent().expect("a folder").display().to_string();
    let script = format!(
        "PATH={folder}:$PATH; . {}; complete -p tidegate",
        debian("completions/tidegate.bash").display()
    );
    let declared = done(Command::new("bash").args(["-c", &script]));
    assert!(declared.contains("-F _tidegate"), "{declared}");
}
