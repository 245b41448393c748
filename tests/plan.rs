//! `pinlink plan`, run as a user runs it. What plans say is tested in the crate `pinlink-plan`, with golden files; here it is
//! the command line, the exit codes, and that the options a plan names are the library's.
#![cfg(feature = "demo")]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use pinlink::config::OPTIONS;
use pinlink::{Client, Origin};
use serde_json::Value;

fn plan(arguments: &[&str]) -> Output {
    piped(arguments, "")
}

/// The same with something on standard input.
fn piped(arguments: &[&str], input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_pinlink"))
        .arg("plan")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    program.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the program reads or has gone");
    program.wait_with_output().expect("the program ends")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal ended the program")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("standard output is UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("standard error is UTF-8")
}

/// A file of targets that is removed again.
struct Targets(PathBuf);

impl Targets {
    fn new(name: &str, text: &str) -> Targets {
        let file = std::env::temp_dir().join(format!("pinlink-plan-{name}-{}.toml", std::process::id()));
        fs::write(&file, text).expect("the folder for temporary files is writable");
        Targets(file)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}

const TARGETS: &str = r#"
region = "杭州"
networklink = "fromFile"
job = ["udf", "spark"]
workers = 16
connections = 64

[[target]]
url = "mysql://rm-1.mysql.rds.aliyuncs.com"

[[target]]
url = "https://restapi.amap.com"
at = "internet"
"#;

#[test]
fn a_file_and_options_make_one_plan() {
    let file = Targets::new("both", TARGETS);
    let output = plan(&[file.path(), "--networklink", "fromOption", "--target", "oss://rows", "--format", "json"]);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let plan: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let region = &plan["regions"][0];
    assert_eq!((&region["id"], &region["networklink"]), (&Value::from("cn-hangzhou"), &Value::from("fromOption")));
    assert_eq!(region["routes"].as_array().expect("routes").len(), 6, "three targets, two jobs");
}

#[test]
fn a_file_comes_from_standard_input_and_a_plan_goes_to_a_file() {
    let page = Targets::new("page", "");
    let output = piped(&["-", "--format", "html", "-o", page.path()], TARGETS);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, ""), "{}", stderr(&output));
    let page = fs::read_to_string(page.path()).expect("the page is there");
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"));
}

#[test]
fn lines_to_paste_are_all_that_a_format_for_them_has() {
    let file = Targets::new("lines", TARGETS);
    let sql = stdout(&plan(&[file.path(), "--format", "sql"]));
    assert!(sql.contains("\nSET odps.session.networklink=fromFile;\n"), "{sql}");
    assert!(sql.contains("\nSET odps.internet.access.list=restapi.amap.com:443;\n"), "{sql}");
    assert!(sql.lines().all(|line| line.is_empty() || line.starts_with("-- ") || line.starts_with("SET ")), "{sql}");
    let spark = stdout(&plan(&[file.path(), "--format", "spark", "--vpc", "vpc-1"]));
    assert!(spark.contains("\nspark.hadoop.odps.cupid.eni.info=cn-hangzhou:vpc-1\n"), "{spark}");
    assert!(
        spark.lines().all(|line| line.is_empty() || line.starts_with("# ") || line.starts_with("spark.")),
        "{spark}"
    );
}

#[test]
fn every_fault_is_a_line_of_its_own_and_nothing_is_planned() {
    let output = plan(&[
        "--region",
        "cn-hangzou",
        "--job",
        "udf,cron",
        "--target",
        "mysql://u:hunter2@h",
        "--vpc",
        "a",
        "--vpc",
        "b",
    ]);
    assert_eq!((code(&output), stdout(&output).as_str()), (2, ""));
    let faults = stderr(&output);
    assert!(faults.lines().count() >= 3 && faults.lines().all(|line| line.starts_with("pinlink: ")), "{faults}");
    assert!(faults.contains("the nearest are cn-hangzhou") && !faults.contains("hunter2"), "{faults}");

    let file = Targets::new("malformed", "region = \"cn-hangzhou\"\ntargets = 7\n");
    let output = plan(&[file.path()]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("line 2: unknown field `targets`"), "{}", stderr(&output));
    assert_eq!(code(&plan(&["/nowhere/targets.toml"])), 2);
}

#[test]
fn what_is_not_supported_is_planned_and_ends_with_another_code() {
    let output = plan(&["--region", "cn-shanghai-finance-1", "--job", "udf", "--target", "https://api.example"]);
    assert_eq!(code(&output), 1);
    assert!(stdout(&output).contains("region NOT published"), "{}", stdout(&output));
    assert!(stderr(&output).starts_with("pinlink: not every target"), "{}", stderr(&output));
}

#[test]
fn every_option_that_a_plan_names_is_the_librarys_and_takes_the_value() {
    let output = piped(&["-", "--format", "json", "--zone", "H"], TARGETS);
    let plan: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let mut named = 0;
    for job in plan["regions"][0]["jobs"].as_array().expect("jobs") {
        for option in job["options"].as_array().expect("options") {
            let (name, value) = option["text"].as_str().and_then(|text| text.split_once('=')).expect("NAME=VALUE");
            let name = name.strip_prefix("pinlink.").expect("a property");
            assert!(OPTIONS.iter().any(|option| option.name == name), "{name}");
            match name {
                "hosts" => assert!(value.split(',').all(|origin| Origin::parse(origin).is_ok()), "{value}"),
                // The file is not there yet.
                "pin_set" => assert_eq!(value, "pins.json"),
                // Nothing is looked up for an address, so that only the options can be wrong.
                _ => _ = Client::builder().hosts(["https://10.0.0.1:1"]).option(name, value).build().expect(name),
            }
            named += 1;
        }
    }
    assert!(named >= 8, "{named} options");
}
