//! The demo's folder: two configurations, one rule file, and the ports they agree on.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

/// The rules of the demo's gateway, as a person would write them.
const RULES: &str = r#"# Every reading goes up. A hot one goes up once more as an alarm, and overtakes the backlog.

rule archive {
  on "sensors/#", "devices/#"
  send to cloud
}

rule hot {
  on "sensors/{sensor}/temperature"
  when temperature > 80
  set severity = if temperature > 90 then "critical" else "warning"
  send to cloud topic "alarms/{sensor}" priority high
}
"#;

/// The files and ports of one demo.
pub(super) struct DemoFolder {
    /// Everything lives below it; removed at the end.
    pub dir: PathBuf,
    /// Where the edge gateway's MQTT listener is.
    pub edge: SocketAddr,
    /// Where the upstream gateway's MQTT listener is.
    pub upstream: SocketAddr,
    /// `gateway.toml` of the edge gateway.
    pub edge_config: PathBuf,
    /// `gateway.toml` of the upstream gateway.
    pub upstream_config: PathBuf,
    /// Where the upstream gateway writes what it received.
    pub delivered: PathBuf,
}

impl DemoFolder {
    /// A new folder below the system's temporary one.
    ///
    /// # Errors
    /// When the folder cannot be made or no loopback port can be had.
    pub(super) fn create() -> std::io::Result<DemoFolder> {
        let dir = std::env::temp_dir().join(format!("tidegate-demo-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("rules"))?;
        std::fs::write(dir.join("rules/demo.rules"), RULES)?;
        Ok(DemoFolder {
            edge: free_port()?,
            upstream: free_port()?,
            edge_config: dir.join("edge.toml"),
            upstream_config: dir.join("upstream.toml"),
            delivered: dir.join("delivered.jsonl"),
            dir,
        })
    }

    /// Writes both configurations.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn write_configs(
        &self,
        relay: SocketAddr,
        ports: &[PathBuf],
    ) -> std::io::Result<()> {
        std::fs::write(&self.upstream_config, self.upstream_text())?;
        std::fs::write(&self.edge_config, self.edge_text(relay, ports))
    }

    fn upstream_text(&self) -> String {
        format!(
            r#"[gateway]
id       = "cloud"
data_dir = "{dir}/cloud"

[store]
keep_for = "0s"

[sources.edge]
type   = "mqtt-listener"
listen = "{listen}"

[upstreams.archive]
type        = "file"
path        = "{file}"
rotate_size = "1GiB"
"#,
            dir = self.dir.display(),
            listen = self.upstream,
            file = self.delivered.display(),
        )
    }

    fn edge_text(&self, relay: SocketAddr, ports: &[PathBuf]) -> String {
        let mut text = format!(
            r#"[gateway]
id       = "edge"
data_dir = "{dir}/edge"
rules    = "rules"

[sources.floor]
type   = "mqtt-listener"
listen = "{listen}"

[upstreams.cloud]
type      = "mqtt"
url       = "mqtt://{relay}"
retry_max = "1s"
"#,
            dir = self.dir.display(),
            listen = self.edge,
        );
        for (number, port) in ports.iter().enumerate() {
            text += &format!(
                "\n[sources.bench{number}]\ntype = \"serial\"\nport = \"{}\"\nreopen_max = \"500ms\"\n",
                port.display()
            );
        }
        text
    }

    /// The data folder of a gateway of this demo.
    pub(super) fn data_dir(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        if std::env::var_os("TIDEGATE_DEMO_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
