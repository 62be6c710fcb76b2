//! `run` shows all that is wrong with a configuration and its rules at once, as `check` does; so does a reload.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::told::troubles;
use tidegate_tests::wait;

const RULES: &str =
    "rule a { on \"a\" send to archvie }\nrule b { on \"b\" wehn v > 1 send to archive }\n";
const ARCHIVE: &str = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";
/// What is said of [`RULES`].
const OF_RULES: [&str; 3] = ["a.rules:1:", "unknown destination `archvie`", "a.rules:2:"];

/// A configuration, and what is said of it beside its rules; `{}` stands for the data folder.
struct Case {
    name: &'static str,
    gateway: &'static str,
    more: &'static str,
    rules: &'static [u8],
    words: &'static [&'static str],
}

const SOUND: &str = "id = \"a\"\ndata_dir = \"data\"\n";
const CASES: &[Case] = &[
    Case {
        name: "rules alone",
        gateway: SOUND,
        more: "",
        rules: RULES.as_bytes(),
        words: &OF_RULES,
    },
    Case {
        name: "an unknown key, and a value",
        gateway: "id = \"a b\"\ndata_dir = \"data\"\n",
        more: "[store]\nkeep_for = \"5 minutes\"\nnonsense = 1\n",
        rules: RULES.as_bytes(),
        words: &[
            "no id of a gateway",
            "write \"5m\"",
            "unknown key `nonsense`",
            OF_RULES[1],
            OF_RULES[2],
        ],
    },
    Case {
        name: "lines that are no TOML",
        gateway: SOUND,
        more: "[store]\nkeep_for = = 1\n",
        rules: RULES.as_bytes(),
        words: &["gateway.toml:9:", OF_RULES[0], OF_RULES[1], OF_RULES[2]],
    },
    Case {
        name: "a section without its type",
        gateway: SOUND,
        more: "[upstreams.archvie]\npath = \"x\"\n",
        rules: RULES.as_bytes(),
        // The upstream is named, whatever is wrong with it.
        words: &["`type`", OF_RULES[2]],
    },
    Case {
        name: "a data folder that is a file",
        gateway: "id = \"a\"\ndata_dir = \"gateway.toml\"\n",
        more: "",
        rules: RULES.as_bytes(),
        words: &["data_dir gateway.toml is a file", OF_RULES[1], OF_RULES[2]],
    },
    Case {
        name: "rules that are no text",
        gateway: "id = \"a\"\ndata_dri = \"data\"\n",
        more: "",
        rules: b"# fine\n# gr\xfcn\n",
        words: &[
            "unknown key `data_dri`",
            "a.rules",
            "it is not UTF-8: byte 0xfc in line 2; save it as UTF-8",
        ],
    },
    Case {
        name: "rules that are no text alone",
        gateway: SOUND,
        more: "",
        rules: b"# gr\xfcn\n",
        words: &["a.rules", "it is not UTF-8: byte 0xfc in line 1"],
    },
];

fn write(dir: &Path, case: &Case) {
    let Case {
        gateway,
        more,
        rules,
        ..
    } = case;
    let text = format!("[gateway]\n{gateway}rules = \"rules\"\n{ARCHIVE}{more}");
    std::fs::write(dir.join("gateway.toml"), text).expect("a configuration");
    std::fs::create_dir_all(dir.join("rules")).expect("a folder");
    std::fs::write(dir.join("rules/a.rules"), rules).expect("rules");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir, mode).expect("its mode");
}

#[test]
fn run_says_all_that_check_says_of_a_configuration_and_of_its_rules() {
    for case in CASES {
        let dir = tempfile::tempdir().expect("a folder");
        write(dir.path(), case);
        let ask = |command: &str| {
            let asked = std::process::Command::new(tidegate_tests::gateway::binary::tidegate())
                .arg(command)
                .current_dir(dir.path())
                .output()
                .expect("it runs");
            assert_eq!(asked.status.code(), Some(78), "{}: {asked:?}", case.name);
            // `run` has its log there, too.
            let said = String::from_utf8_lossy(&asked.stderr).into_owned();
            let pictures = said.lines().filter(|line| !line.contains("Z  WARN "));
            pictures.collect::<Vec<_>>().join("\n")
        };
        let (checked, run) = (ask("check"), ask("run"));
        for word in case.words {
            assert!(run.contains(word), "{}: {word}: {run}", case.name);
        }
        // What `check` warns of, `run` has in its log.
        let errors = checked.find("error").map_or("", |at| &checked[at..]);
        assert!(run.ends_with(errors), "{}:\n{checked}\n\n{run}", case.name);
    }
}

#[test]
fn a_reload_says_what_is_wrong_with_the_rules_beside_a_broken_configuration() {
    let mut gateway = Gateway::new(ARCHIVE);
    gateway.write("rules/a.rules", "rule a { on \"a\" send to archive }\n");
    gateway.start();
    let path = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    std::fs::write(&path, format!("{text}\n[store]\nnonsense = 1\n")).expect("a configuration");
    std::fs::write(gateway.path("rules/a.rules"), RULES).expect("rules");
    gateway.signal("HUP");
    wait::find("the trouble names both", || {
        let all = troubles(&gateway);
        let words = ["unknown key `nonsense`", "unknown destination `archvie`"];
        let found = all.iter().any(|one| {
            one.contains("is refused, and what it said before goes on")
                && words.iter().all(|word| one.contains(word))
        });
        found.then_some(()).ok_or_else(|| format!("{all:#?}"))
    });
}
