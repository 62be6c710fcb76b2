//! A payload that is JSON leaves byte for byte as it came, from every way in to every way out, to whoever looks at it,
//! and through a rule that sets another member of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::value::RawValue;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::{mqtt, peer, port, wait};

const RULES: &str = "rule all { on \"in/#\" send to archive send to one send to many send to plain \
    send to five send to whole }\n\
    rule changed { on \"set/+\" set v = 7 send to archive send to many send to whole send to dead_letter }\n";

/// What no library would write so again.
const PAYLOADS: [&str; 8] = [
    r#"{"z":18446744073709551616,"a":1.10,"far":1e400,"zero":-0,"big":1E+2}"#,
    r#"{"a":1,"b":{"y":1,"x":2},"a":{"a":3,"a":4}}"#,
    r#"{"text":"\u00e9\/\ud83d\ude00 \ud800 é €","\u0061":""}"#,
    "{\r\n\t\"lines\" : [ 1 ,\n 2 ],\n\n  \"v\": 0.1000000000000000055511151231257827\n}",
    r#"[[[1.0,1.00],{}],[ ],null]"#,
    "5e-324",
    r#""\u0041 text""#,
    "-123456789012345678901234567890.0",
];

/// What was posted: the topic in the head, where there is one, and the body.
type Posted = Arc<Mutex<Vec<(Option<String>, Vec<u8>)>>>;

/// A webhook that takes everything.
fn webhook() -> (SocketAddr, Posted) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    let posted = Posted::default();
    let all = Arc::clone(&posted);
    std::thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            let all = Arc::clone(&all);
            std::thread::spawn(move || take(stream, &all));
        }
    });
    (address, posted)
}

fn take(stream: TcpStream, posted: &Posted) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream);
    loop {
        let (mut topic, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            if input.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok()?,
                "ce-topic" => topic = Some(value.trim().to_owned()),
                _ => {}
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).ok()?;
        posted.lock().ok()?.push((topic, body));
        out.write_all(b"HTTP/1.1 204 x\r\ncontent-length: 0\r\n\r\n")
            .ok()?;
    }
}

/// Members of an object as they are written.
fn members(document: &[u8]) -> BTreeMap<String, Box<RawValue>> {
    let shown = || String::from_utf8_lossy(document);
    serde_json::from_slice(document).unwrap_or_else(|why| panic!("{why}: {}", shown()))
}

fn text(json: &RawValue) -> String {
    serde_json::from_str(json.get()).expect("a text")
}

/// Payloads by their topics, as they are written in documents.
fn data_of<'d>(documents: impl IntoIterator<Item = &'d [u8]>) -> BTreeMap<String, String> {
    let documents = documents.into_iter().map(members);
    let named = documents.map(|document| {
        let data = document.get("data").map_or("", |data| data.get());
        (text(&document["topic"]), data.to_owned())
    });
    named.collect()
}

/// Everything that a broker gets, by topic.
fn listen(broker: SocketAddr) -> Arc<Mutex<BTreeMap<String, Vec<u8>>>> {
    let mut stream = mqtt::connect(broker, "reader", true).expect("let in");
    stream
        .write_all(&mqtt::subscribe(1, "#"))
        .expect("it reads");
    let mut granted = [0; 5];
    stream.read_exact(&mut granted).expect("SUBACK");
    let got = Arc::new(Mutex::new(BTreeMap::new()));
    let all = Arc::clone(&got);
    std::thread::spawn(move || {
        let (mut buffer, mut chunk) = (Vec::new(), vec![0; 65536]);
        while let Ok(count) = stream.read(&mut chunk)
            && count > 0
        {
            buffer.extend(&chunk[..count]);
            while let Some((first, body)) = mqtt::take(&mut buffer) {
                if first >> 4 != 3 {
                    continue;
                }
                let behind = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                let topic = String::from_utf8_lossy(&body[2..behind]).into_owned();
                let payload = body[behind + 2..].to_vec();
                all.lock().expect("it runs").insert(topic, payload);
                let _ = stream.write_all(&[0x40, 2, body[behind], body[behind + 1]]);
            }
        }
    });
    got
}

fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) {
    let mut stream = wait::find("the HTTP source listens", || TcpStream::connect(address));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream
        .write_all(&[head.as_bytes(), body].concat())
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
}

fn structured(topic: &str, more: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{topic}","source":"s","type":"t","topic":"{topic}"{more}}}"#
    )
}

/// A document by MQTT 5, whose content type says that it is one.
fn publish_document(address: SocketAddr, topic: &str, document: &str) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), document).expect("written");
    let port = address.port().to_string();
    let output = Command::new("mosquitto_pub")
        .args(["-V", "5", "-q", "1", "-h", "127.0.0.1", "-p", &port])
        .args(["-t", topic, "-D", "publish", "content-type"])
        .args(["application/cloudevents+json", "-f"])
        .arg(file.path())
        .output()
        .expect("mosquitto_pub runs");
    assert!(output.status.success(), "{topic}: {output:?}");
}

/// Sends each payload through each way in; gives by topic what must leave.
fn send_all(floor: SocketAddr, http: SocketAddr) -> BTreeMap<String, String> {
    let mut sent = BTreeMap::new();
    let mut three = mqtt::connect(floor, "three", true).expect("let in");
    for (number, payload) in PAYLOADS.into_iter().enumerate() {
        let topic = |door: &str| format!("in/{door}/{number}");
        let data = format!(r#","data" : {payload} ,"x":1"#);
        let json = "Content-Type: application/json\r\n";
        mqtt::publish_acknowledged(&mut three, &topic("mqtt"), 1, payload.as_bytes());
        let document = structured(&topic("document"), &data);
        publish_document(floor, &topic("document"), &document);
        let path = format!("/topics/{}", topic("http"));
        post(http, &path, json, payload.as_bytes());
        let one = structured(&topic("one"), &data);
        let kind = "Content-Type: application/cloudevents+json\r\n";
        post(http, "/events", kind, one.as_bytes());
        let batch = format!("[{}]", structured(&topic("batch"), &data));
        let kind = "Content-Type: application/cloudevents-batch+json\r\n";
        post(http, "/events", kind, batch.as_bytes());
        for door in ["mqtt", "document", "http", "one", "batch"] {
            sent.insert(topic(door), payload.to_owned());
        }
    }
    sent
}

fn gateway(broker: &Mosquitto, http: SocketAddr, hooks: [SocketAddr; 3]) -> Gateway {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("rules")).expect("a folder");
    std::fs::write(folder.path().join("rules/all.rules"), RULES).expect("written");
    let [one, many, plain] = hooks;
    let broker = broker.address;
    let more = format!(
        "[sources.hooks]\ntype = \"http\"\nlisten = \"{http}\"\n\n\
         [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n\n\
         [upstreams.one]\ntype = \"http\"\nurl = \"http://{one}/\"\nformat = \"structured\"\n\n\
         [upstreams.many]\ntype = \"http\"\nurl = \"http://{many}/\"\nbatch_max = 5\n\n\
         [upstreams.plain]\ntype = \"http\"\nurl = \"http://{plain}/\"\n\n\
         [upstreams.five]\ntype = \"mqtt\"\nurl = \"mqtt://{broker}\"\ntopic = \"binary/{{topic}}\"\n\n\
         [upstreams.whole]\ntype = \"mqtt\"\nurl = \"mqtt://{broker}\"\ntopic = \"whole/{{topic}}\"\nformat = \"structured\"\n"
    );
    let mut gateway = Gateway::new_in(folder, &more);
    let text = std::fs::read_to_string(gateway.path("gateway.toml")).expect("a configuration");
    let text = text.replace("[gateway]\n", "[gateway]\nrules = \"rules\"\n");
    gateway.write("gateway.toml", &text);
    gateway.start();
    gateway
}

/// What `tidegate` prints as JSON.
fn asked(gateway: &Gateway, arguments: &[&str]) -> Vec<u8> {
    let asked = gateway.ask(&[arguments, &["--format", "json"]].concat());
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success(), "{arguments:?}: {said}");
    asked.stdout
}

/// Lines of the file upstream by the topics of their events.
fn archived(gateway: &Gateway) -> BTreeMap<String, String> {
    let text = std::fs::read(gateway.path("archive.jsonl")).unwrap_or_default();
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    data_of(lines.filter(|line| line.ends_with(b"\n")))
}

/// What every way out got, by its name; it may be too early.
struct Outputs {
    gateway: Gateway,
    one: Posted,
    many: Posted,
    plain: Posted,
    broker: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Outputs {
    fn seen(&self) -> BTreeMap<&'static str, BTreeMap<String, String>> {
        let bodies = |posted: &Posted| posted.lock().expect("it runs").clone();
        let one: Vec<Vec<u8>> = bodies(&self.one).into_iter().map(|it| it.1).collect();
        let many = bodies(&self.many).into_iter().flat_map(|(_, body)| {
            serde_json::from_slice::<Vec<Box<RawValue>>>(&body).expect("a batch")
        });
        let many: Vec<Box<RawValue>> = many.collect();
        let plain = bodies(&self.plain).into_iter();
        let as_text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let plain = plain.map(|(topic, body)| (topic.expect("ce-topic"), as_text(body)));
        let broker = self.broker.lock().expect("it runs").clone();
        let binary = broker.iter().filter_map(|(topic, payload)| {
            let topic = topic.strip_prefix("binary/")?;
            Some((topic.to_owned(), as_text(payload.clone())))
        });
        let whole = broker.iter().filter(|it| it.0.starts_with("whole/"));
        BTreeMap::from([
            ("file", archived(&self.gateway)),
            ("http structured", data_of(one.iter().map(Vec::as_slice))),
            (
                "http batch",
                data_of(many.iter().map(|it| it.get().as_bytes())),
            ),
            ("http binary", plain.collect()),
            ("mqtt binary", binary.collect()),
            ("mqtt structured", data_of(whole.map(|it| it.1.as_slice()))),
        ])
    }
}

/// Sends everything and waits until it is everywhere.
fn passed(test: &str) -> Option<(Outputs, BTreeMap<String, String>)> {
    let mut broker = Mosquitto::new(test)?;
    peer::find("mosquitto_pub", test)?;
    broker.start();
    let http = port::free();
    let ((at_one, one), (at_many, many), (at_plain, plain)) = (webhook(), webhook(), webhook());
    let gateway = gateway(&broker, http, [at_one, at_many, at_plain]);
    let outputs = Outputs {
        broker: listen(broker.address),
        gateway,
        one,
        many,
        plain,
    };
    let sent = send_all(outputs.gateway.address, http);
    wait::until("every way out got everything", || {
        outputs.seen().values().all(|got| got.len() >= sent.len())
    });
    check_typed(&outputs, http);
    check_set(&outputs, http);
    Some((outputs, sent))
}

#[test]
fn json_leaves_as_it_came_from_every_way_in_to_every_way_out() {
    let Some((outputs, sent)) = passed("bytes") else {
        return;
    };
    let without_ends = |text: &str| text.replace(['\r', '\n'], " ");
    let topics: BTreeSet<&String> = sent.keys().collect();
    for (output, got) in outputs.seen() {
        for topic in &topics {
            let (got, sent) = (&got[*topic], &sent[*topic]);
            // A line of a file has one end.
            let expected = match output {
                "file" => without_ends(sent),
                _ => sent.clone(),
            };
            assert_eq!(got, &expected, "{topic} to {output}");
        }
    }
    let mut gateway = outputs.gateway;
    check_shown(&gateway, &sent, false);
    gateway.terminate();
    check_shown(&gateway, &sent, true);
}

/// What `events list` and `events show` print, of the running gateway or of its store.
fn check_shown(gateway: &Gateway, sent: &BTreeMap<String, String>, stopped: bool) {
    let list = asked(gateway, &["events", "list", "--limit", "1000"]);
    let views: Vec<Box<RawValue>> = serde_json::from_slice(&list).expect("JSON");
    let mut found = 0;
    for view in &views {
        let view = members(view.get().as_bytes());
        let topic = text(&view["topic"]);
        let Some(sent) = sent.get(&topic) else {
            continue;
        };
        let data = members(view["event"].get().as_bytes())["data"].clone();
        assert_eq!(data.get(), sent, "{topic} in the list, stopped: {stopped}");
        found += 1;
        let shown = asked(gateway, &["events", "show", view["sequence"].get()]);
        let event = members(members(&shown)["event"].get().as_bytes());
        assert_eq!(event["data"].get(), sent, "{topic}, stopped: {stopped}");
        let show = gateway.ask(&["events", "show", view["sequence"].get()]);
        let people = String::from_utf8_lossy(&show.stdout).into_owned();
        for line in sent.lines() {
            assert!(people.contains(line), "{line} of {topic} in {people}");
        }
    }
    assert_eq!(found, sent.len());
}

/// Numbers and booleans of a document, its time and its missing data, in the documents that leave.
fn check_typed(outputs: &Outputs, http: SocketAddr) {
    let more = r#","n":18446744073709551616,"half":0.50,"yes":true,"no":"false","time":"2026-01-02T03:04:05.1234567890+05:30""#;
    let events = [
        structured("in/typed/without", more),
        structured("in/typed/empty", &format!(r#"{more},"data":"""#)),
        structured("in/typed/null", &format!(r#"{more},"data":null"#)),
    ];
    let kind = "Content-Type: application/cloudevents-batch+json\r\n";
    let batch = format!("[{}]", events.join(","));
    post(http, "/events", kind, batch.as_bytes());
    post(http, "/topics/in/typed/nothing", "", b"");
    let is_there = |got: &BTreeMap<String, String>| got.contains_key("in/typed/nothing");
    wait::until("typed ones are everywhere", || {
        outputs.seen().values().all(is_there)
    });
    for (output, got) in outputs.seen() {
        let of = |topic: &str| got[&format!("in/typed/{topic}")].as_str();
        let empty = ["", "\"\"", "null", ""];
        let names = ["without", "empty", "null", "nothing"];
        assert_eq!(names.map(of), empty, "{output}");
    }
    let file = std::fs::read_to_string(outputs.gateway.path("archive.jsonl")).expect("a file");
    let lines = file.lines().filter(|line| line.contains("in/typed/"));
    for line in lines {
        let document = members(line.as_bytes());
        let is_without = line.contains("without\"") || line.contains("nothing\"");
        assert_eq!(document.contains_key("data"), !is_without, "{line}");
        if line.contains("nothing\"") {
            continue;
        }
        for (name, json) in [
            ("n", "18446744073709551616"),
            ("half", "0.50"),
            ("yes", "true"),
            ("no", "\"false\""),
            ("time", "\"2026-01-02T03:04:05.1234567890+05:30\""),
        ] {
            assert_eq!(document[name].get(), json, "{line}");
        }
    }
}

/// A rule's `set` in what leaves, in what is shown of it, and in the dead letter that comes of it.
fn check_set(outputs: &Outputs, http: SocketAddr) {
    let payload =
        "{\"z\": 1.10, \"v\":1, \"a\" :18446744073709551616,\r\n \"a\": 1e400, \"v\" : null}";
    let expected = payload.replace("\"v\":1", "\"v\":7").replace("null", "7");
    let json = "Content-Type: application/json\r\n";
    post(http, "/topics/set/x", json, payload.as_bytes());
    wait::until("it left everywhere", || {
        let seen = outputs.seen();
        let mut ways = ["file", "http batch", "mqtt structured"].into_iter();
        ways.all(|way| seen[way].contains_key("set/x"))
    });
    let seen = outputs.seen();
    assert_eq!(seen["http batch"]["set/x"], expected);
    assert_eq!(seen["mqtt structured"]["set/x"], expected);
    let on_one_line = expected.replace(['\r', '\n'], " ");
    assert_eq!(seen["file"]["set/x"], on_one_line);
    let list = asked(&outputs.gateway, &["events", "list", "--topic", "set/x"]);
    let list = String::from_utf8(list).expect("UTF-8");
    assert!(list.contains(&format!("\"data\": {payload}")), "{list}");
    assert_eq!(list.matches(&expected).count(), 4, "{list}");
    let letters = asked(&outputs.gateway, &["dead-letters", "list"]);
    let letters = String::from_utf8(letters).expect("UTF-8");
    assert!(
        letters.contains(&format!("\"data\": {payload}")),
        "{letters}"
    );
}
