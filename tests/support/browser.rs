//! A headless Chromium, driven through chromedriver's WebDriver interface.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;

use super::free_port;
use super::http;
use super::tools;
use super::wait_for;

/// One browser window; closed when dropped.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
}

impl Browser {
    /// Starts the driver and a window at `url`; installs both programs if they are missing.
    pub fn open(url: &str) -> Browser {
        tools::need(&["chromium", "chromedriver"], &["chromium", "chromium-driver"]);
        let address = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", address.port())).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = command.spawn().expect("chromedriver starts");
        let mut browser = Browser { driver, address, session: String::new() };
        wait_for("chromedriver", || TcpStream::connect(address).ok());
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1400,900",
        ];
        let options = json!({"alwaysMatch": {"goog:chromeOptions": {"args": args}}});
        let session = browser.command("/session", &json!({"capabilities": options}));
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        browser.command(&format!("/session/{}/url", browser.session), &json!({"url": url}));
        browser
    }

    /// Runs the body of a function in the page; gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.command(
            &format!("/session/{}/execute/sync", self.session),
            &json!({"script": script, "args": []}),
        )
    }

    /// Runs the expression until it is true.
    pub fn wait(&self, expression: &str) {
        wait_for(expression, || (self.run(&format!("return {expression}")) == true).then_some(()));
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        let response = http::request(self.address, "POST", path, body.to_string().as_bytes());
        assert_eq!(response.status, 200, "{path} {body}: {}", response.text());
        response.json()["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without an end of its session the driver would leave the browser behind.
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            let _ =
                write!(stream, "DELETE /session/{} HTTP/1.1\r\nHost: {}\r\n\r\n", self.session, self.address);
            let _ = stream.read(&mut [0; 64]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
