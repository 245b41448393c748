-- What to paste into odpscmd or DataWorks, in this order. This folder holds exactly what is uploaded.

-- 1. Once per project. The wheel as an archive: unpacked under work/pinlink.zip in every worker.
ADD ARCHIVE pinlink-@VERSION@.zip AS pinlink.zip -f;
-- Your own functions, and where their service is.
ADD PY functions.py -f;
ADD FILE service.json -f;
-- And what looks at the way to some targets from inside a job: the first thing to call.
ADD PY probe.py -f;
CREATE FUNCTION pinlink_probe AS 'probe.Probe' USING 'probe.py,pinlink.zip';
CREATE FUNCTION look_up AS 'functions.LookUp' USING 'functions.py,service.json,pinlink.zip';
CREATE FUNCTION look_up_rows AS 'functions.LookUpRows' USING 'functions.py,service.json,pinlink.zip';
CREATE FUNCTION insert_orders AS 'functions.InsertOrders' USING 'functions.py,service.json,pinlink.zip';

-- 2. In each session that calls them, as one submission with the query.
-- Python 3.11, or cp37; without it functions run on Python 2.7.
SET odps.sql.python.version=cp311;
-- Native code, files and sockets are closed to functions otherwise.
SET odps.isolation.session.enable=true;
SET odps.pypy.enabled=false;
-- The network that the job is let into (VPC), by its name. For the Internet: odps.internet.access.list=host:port,...
SET odps.session.networklink=my_network_link;
-- A batch of rows must end within this many seconds; keep the option `timeout` below it.
SET odps.function.timeout=600;
SELECT pinlink_probe('https://kms.example,mysql://rds.example:3306', '');
SELECT look_up_rows(id) AS (id, row) FROM my_table;

-- 3. To start thousands of workers without one query to DNS: resolve once inside the job's network, ship the file, and read
-- it by pinlink.PinSet.from_json(get_cache_file('pins.json').read()) into the option pin_set.
ADD FILE pins.json -f;
