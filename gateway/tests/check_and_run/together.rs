//! What single keys do not show: two of them together, the files that they name, and the file itself.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};

/// What `check` says, and `run` after it.
pub(crate) enum Says {
    /// It is fine, and starts.
    Fine,
    /// It is wrong, in these words.
    Wrong(&'static [&'static str]),
}

/// A configuration and what stands beside it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) text: Vec<u8>,
    pub(crate) makes: fn(&Path),
    pub(crate) says: Says,
}

const GATEWAY: &str = "[gateway]\nid = \"a\"\ndata_dir = \"data\"\n";
const FLOOR: &str = "[sources.l]\ntype = \"mqtt-listener\"\nlisten = \"FREE\"\n";
const ARCHIVE: &str = "[upstreams.f]\ntype = \"file\"\npath = \"f.jsonl\"\n";

fn nothing(_: &Path) {}

/// A row whose configuration ends in `more`.
fn row(name: &'static str, more: &str, says: Says) -> Row {
    with(name, more, nothing, says)
}

fn with(name: &'static str, more: &str, makes: fn(&Path), says: Says) -> Row {
    let text = format!("{GATEWAY}{FLOOR}{ARCHIVE}{more}").into_bytes();
    Row { name, text, makes, says }
}

fn whole(name: &'static str, text: impl Into<Vec<u8>>, makes: fn(&Path), says: Says) -> Row {
    let text = text.into();
    Row { name, text, makes, says }
}

/// With `data_dir` as given.
fn placed(name: &'static str, data_dir: &str, makes: fn(&Path), says: Says) -> Row {
    let text = format!("[gateway]\nid = \"a\"\ndata_dir = \"{data_dir}\"\n{FLOOR}{ARCHIVE}");
    whole(name, text, makes, says)
}

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    let all = [addresses(), files(), places(), syntax(), values()];
    all.into_iter().flatten().collect()
}

fn addresses() -> Vec<Row> {
    let two = |other: &str, more: &str| {
        format!(
            "[sources.a]\ntype = \"mqtt-listener\"\nlisten = \"127.0.0.1:18931\"\n[sources.b]\ntype = \"http\"\nlisten = \"{other}\"\n{more}"
        )
    };
    use Says::{Fine, Wrong};
    vec![
        row("an API at the port of a source", &(two("FREE", "") + "[api]\nlisten = \"127.0.0.1:18931\"\n"), Wrong(&["[api] and [sources.a] both listen on 127.0.0.1:18931"])),
        row("two at one address", &two("127.0.0.1:18931", ""), Wrong(&["both listen on"])),
        row("all addresses beside one", &two("0.0.0.0:18931", "anonymous = true\n"), Wrong(&["one of them takes what the other wants"])),
        row("all addresses of IPv6 beside one", &two("[::]:18931", "anonymous = true\n"), Wrong(&["one of them takes what the other wants"])),
        row("one number for two of the system's choice", "[sources.a]\ntype = \"http\"\nlisten = \"127.0.0.1:0\"\n[sources.b]\ntype = \"http\"\nlisten = \"127.0.0.1:0\"\n", Fine),
        row("IPv6 without brackets", "[sources.a]\ntype = \"http\"\nlisten = \"::1:18931\"\n", Wrong(&["write \"[::1]:18931\""])),
        row("a port above all", "[sources.a]\ntype = \"http\"\nlisten = \"127.0.0.1:65536\"\n", Wrong(&["is no address:port"])),
        row("an address of no interface", "[sources.a]\ntype = \"http\"\nlisten = \"192.0.2.7:18931\"\nanonymous = true\n", Fine),
        row("a host that does not resolve", "[upstreams.m]\ntype = \"mqtt\"\nurl = \"mqtt://no.such.host.invalid\"\n[upstreams.h]\ntype = \"http\"\nurl = \"http://no.such.host.invalid/\"\n", Fine),
        row("a port for two", "[sources.a]\ntype = \"serial\"\nport = \"/dev/none\"\n[sources.b]\ntype = \"lines\"\nport = \"/dev/../dev/none\"\nformat = \"text\"\n", Wrong(&["both use one file, as /dev/none and as /dev/../dev/none"])),
        row("one match for two", "[sources.a]\ntype = \"serial\"\nmatch = { vid = \"2e8a\" }\n[sources.b]\ntype = \"lines\"\nmatch = { vid = \"2e8a\" }\nformat = \"text\"\n", Wrong(&["look for the same port", "`serial`"])),
        row("a port that is a file", "[sources.a]\ntype = \"serial\"\nport = \"gateway.toml\"\n", Fine),
    ]
}

fn files() -> Vec<Row> {
    use Says::{Fine, Wrong};
    let file = |path: &str| format!("[upstreams.g]\ntype = \"file\"\npath = \"{path}\"\n");
    let into = |what: &str| format!("{GATEWAY}rules = \"rules\"\n{FLOOR}[upstreams.f]\ntype = \"file\"\npath = \"{what}\"\n");
    let rules: fn(&Path) = |dir| {
        std::fs::create_dir(dir.join("rules")).expect("a folder");
        std::fs::write(dir.join("rules/a.rules"), "rule x { on \"a\" send to f }").expect("rules");
    };
    let tls = "[sources.s]\ntype = \"mqtt-listener\"\nlisten = \"FREE\"\ntls = { cert = \"c.pem\", key = \"k.pem\" }\n";
    let ca = "[upstreams.m]\ntype = \"mqtt\"\nurl = \"mqtts://localhost\"\nca = \"c.pem\"\n";
    let login = "[upstreams.m]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\nuser = \"u\"\npassword_file = \"p\"\n";
    vec![
        row("one file twice", &file("./f.jsonl"), Wrong(&["[upstreams.f] and [upstreams.g] both use "])),
        with("one file by a link", &file("g.jsonl"), |dir| symlink("f.jsonl", dir.join("g.jsonl")).expect("a link"), Wrong(&["both use one file"])),
        whole("a file that is the configuration", into("gateway.toml"), rules, Wrong(&["would write into the configuration"])),
        whole("a file of the rules", into("rules/a.rules"), rules, Wrong(&["would write into the rules"])),
        whole("a file of the store", into("data/store/x"), rules, Wrong(&["would write into the event store"])),
        whole("a file beside the rules", into("rules/x.jsonl"), rules, Fine),
        with("a chain from its root on", tls, |dir| { let (own, key, root) = chain(); put(dir, &(root + &own), &key); }, Wrong(&["the private key is the one of certificate 2 of 2: put that first"])),
        with("a chain from the certificate on", tls, |dir| { let (own, key, root) = chain(); put(dir, &(own + &root), &key); }, Fine),
        with("lines that end as on Windows", tls, |dir| { let (own, key, _) = chain(); put(dir, &own.replace('\n', "\r\n"), &key.replace('\n', "\r\n")); }, Fine),
        with("the key of another", tls, |dir| put(dir, &chain().0, &chain().1), Wrong(&["not the one of this certificate"])),
        with("the wrong way round", tls, |dir| { let (own, key, _) = chain(); put(dir, &key, &own); }, Wrong(&["holds a private key and no certificate", "holds a certificate and no private key", "wrong way round"])),
        with("encrypted keys", tls, |dir| put(dir, &chain().0, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"), Wrong(&["is encrypted", "openssl pkey -in k.pem"])),
        with("a key encrypted as of old", tls, |dir| put(dir, &chain().0, "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIB\n-----END EC PRIVATE KEY-----\n"), Wrong(&["is encrypted"])),
        with("a torn certificate", tls, |dir| { let (own, key, _) = chain(); put(dir, &own[..200], &key); }, Wrong(&["c.pem is cut off"])),
        with("a request", tls, |dir| put(dir, "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n", &chain().1), Wrong(&["holds a certificate request"])),
        with("DER", ca, |dir| std::fs::write(dir.join("c.pem"), [0x30, 0x82, 0x01, 0xff, 0xfe]).expect("a file"), Wrong(&["is DER or PKCS #12", "openssl x509 -inform der -in c.pem"])),
        with("no byte of a CA", ca, |dir| std::fs::write(dir.join("c.pem"), "").expect("a file"), Wrong(&["c.pem is empty"])),
        with("an empty secret", login, |dir| secret(dir, b""), Wrong(&["p is empty"])),
        with("a secret of a line end", login, |dir| secret(dir, b"\r\n"), Wrong(&["p is empty"])),
        with("a secret in Latin-1", login, |dir| secret(dir, b"gr\xfcn\n"), Wrong(&["it is not UTF-8: byte 0xfc in line 1; save it as UTF-8"])),
        with("a secret in UTF-16", login, |dir| secret(dir, b"\xff\xfea\0"), Wrong(&["it is UTF-16"])),
        with("a secret that MQTT does not carry", login, |dir| secret(dir, &[b'x'; 70_000]), Wrong(&["has 70000 bytes; MQTT carries at most 65535"])),
        with("a secret that it does", login, |dir| secret(dir, &[b'x'; 65_535]), Fine),
    ]
}

fn places() -> Vec<Row> {
    use Says::{Fine, Wrong};
    vec![
        placed("a data folder of no file system's", "da\\u0000ta", nothing, Wrong(&["holds U+0000"])),
        placed("a long name", &"x".repeat(256), nothing, Wrong(&["has a name of 256 bytes"])),
        placed("a long way", &"xxxxxxxxxx/".repeat(400), nothing, Wrong(&["has 4400 bytes"])),
        placed("a link to nowhere", "data", |dir| symlink("nowhere", dir.join("data")).expect("a link"), Wrong(&["data_dir data is a link to nowhere, where nothing is"])),
        placed("a link in a circle", "data", |dir| symlink("data", dir.join("data")).expect("a link"), Wrong(&["is a link to data"])),
        placed("a folder of processes", "/proc/x", nothing, Wrong(&["cannot be made by this user", "name another data_dir"])),
        placed("a file for a store", "data", |dir| { std::fs::create_dir(dir.join("data")).expect("a folder"); std::fs::write(dir.join("data/store"), "").expect("a file"); }, Wrong(&["data/store is no folder", "move it away"])),
        placed("a folder for a socket", "data", |dir| std::fs::create_dir_all(dir.join("data/tidegate.sock/x")).expect("a folder"), Wrong(&["data/tidegate.sock is a folder", "move it away"])),
        placed("data among the rules", "rules/data", |dir| std::fs::create_dir(dir.join("rules")).expect("a folder"), Fine),
        whole("no group", format!("{GATEWAY}group = \"\"\n{FLOOR}{ARCHIVE}"), nothing, Wrong(&["`group` is empty"])),
        whole("the group that is none", format!("{GATEWAY}group = \"4294967295\"\n{FLOOR}{ARCHIVE}"), nothing, Wrong(&["`group` is no number of a group"])),
        whole("a group of nobody here", format!("{GATEWAY}group = \"no-such-group\"\n{FLOOR}{ARCHIVE}"), nothing, Fine),
    ]
}

fn syntax() -> Vec<Row> {
    use Says::{Fine, Wrong};
    let sound = format!("{GATEWAY}{FLOOR}{ARCHIVE}");
    let utf16: Vec<u8> = sound.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        whole("dotted keys", "gateway.id = \"a\"\ngateway.data_dir = \"data\"\nsources.l.type = \"mqtt-listener\"\nsources.l.listen = \"FREE\"\nupstreams.f.type = \"file\"\nupstreams.f.path = \"f\"\n", nothing, Fine),
        whole("inline tables", "gateway = { id = \"a\", data_dir = \"data\" }\nsources = { l = { type = \"mqtt-listener\", listen = \"FREE\" } }\nupstreams = { f = { type = \"file\", path = \"f\" } }\n", nothing, Fine),
        whole("a dotted key twice", "gateway.id = \"a\"\ngateway.data_dir = \"data\"\ngateway.id = \"b\"\n", nothing, Wrong(&["duplicate key; the first one is in line 1"])),
        row("a section twice", "[store]\n[store]\n", Wrong(&["duplicate key; the first one is in line 10"])),
        row("a list of sections", "[[sources.x]]\ntype = \"http\"\n", Wrong(&["write [sources.NAME]"])),
        whole("lines that end as on Windows", sound.replace('\n', "\r\n"), nothing, Fine),
        whole("a byte order mark", ["\u{feff}", &sound].concat(), nothing, Fine),
        whole("Latin-1", [b"# gr\xfcn\n", sound.as_bytes()].concat(), nothing, Wrong(&["it is not UTF-8: byte 0xfc in line 1; save it as UTF-8"])),
        whole("UTF-16", [&[0xff, 0xfe], utf16.as_slice()].concat(), nothing, Wrong(&["it is UTF-16; save it as UTF-8"])),
        whole("a NUL", [sound.as_bytes(), b"# a\0b\n"].concat(), nothing, Wrong(&["gateway.toml:10:"])),
        whole("10 MB", sound.clone() + &"# 345678\n".repeat(1_100_000), nothing, Wrong(&["too large to be meant"])),
        whole("nothing", "", nothing, Wrong(&["section `[gateway]` is missing", "no sources and no upstreams"])),
        row("depth", &format!("[store]\nx = {}{}\n", "[".repeat(5_000), "]".repeat(5_000)), Wrong(&["recursi"])),
        row("a thousand mistakes", &format!("[store]\n{}", (0..1_000).map(|n| format!("k{n} = 1\n")).collect::<String>()), Wrong(&["unknown key `k0`", "and 800 more are not shown"])),
    ]
}

fn values() -> Vec<Row> {
    use Says::{Fine, Wrong};
    let store = |name, line: &str, says| row(name, &format!("[store]\n{line}\n"), says);
    vec![
        store("no time", "keep_for = \"0s\"", Fine),
        store("nanoseconds", "keep_for = \"1ns\"", Wrong(&["units of time: ms, s, m, h, d"])),
        store("a day", "keep_for = \"1d\"", Fine),
        store("all milliseconds", "keep_for = \"18446744073709551615ms\"", Wrong(&["is out of range", "0ms to 3650d"])),
        store("one more", "keep_for = \"18446744073709551616ms\"", Wrong(&["takes a duration"])),
        store("a negative time", "keep_for = \"-1s\"", Wrong(&["takes a duration"])),
        store("blanks", "keep_for = \" 5 s \"", Wrong(&["write \"5s\""])),
        store("hours and minutes", "keep_for = \"1h30m\"", Fine),
        store("a size with a blank", "max_size = \"1 KiB\"", Wrong(&["write \"1KiB\""])),
        store("powers of ten", "max_size = \"64MB\"", Wrong(&["write \"64MiB\""])),
        store("all bytes", "max_size = \"18446744073709551615B\"", Wrong(&["is out of range"])),
        store("a size without its unit", "max_size = 1024", Wrong(&["needs a unit"])),
        row("a count with a fraction", "[sources.a]\ntype = \"http\"\nlisten = \"FREE\"\nmax_connections = 1.0\n", Wrong(&["not a number with a fraction"])),
        row("a count in hexadecimal", "[sources.a]\ntype = \"http\"\nlisten = \"FREE\"\nmax_connections = 0x10\n", Fine),
    ]
}

/// A certificate, its key, and the CA that signed it.
fn chain() -> (String, String, String) {
    let mut root = CertificateParams::new(Vec::new()).expect("parameters");
    root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().expect("a key");
    let root_pem = root.self_signed(&root_key).expect("a root").pem();
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let own = own.signed_by(&key, &Issuer::new(root, root_key)).expect("a certificate");
    (own.pem(), key.serialize_pem(), root_pem)
}

fn put(dir: &Path, certificate: &str, key: &str) {
    std::fs::write(dir.join("c.pem"), certificate).expect("a file");
    own(&dir.join("k.pem"), key.as_bytes());
}

fn secret(dir: &Path, bytes: &[u8]) {
    own(&dir.join("p"), bytes);
}

fn own(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
}
