-- What to paste into odpscmd or DataWorks, in this order. This folder holds exactly what is uploaded, besides your own:
-- my-functions.jar and service.properties are those of examples/maxcompute-java. The flags are those of the vendor's
-- documentation; none was tried on an account.

-- 1. Once per project. The jar brings the native library for linux-x86_64 (glibc 2.17 or later) inside.
ADD JAR pinlink-@VERSION@.jar -f;
-- Your own functions, compiled against it. Their dependency on pinlink is `provided`: one copy per job.
ADD JAR my-functions.jar -f;
-- Where the service is, and the client's options: changed without a new jar.
ADD FILE service.properties -f;
CREATE FUNCTION look_up AS 'example.LookUp' USING 'my-functions.jar,pinlink-@VERSION@.jar,service.properties';
CREATE FUNCTION look_up_rows AS 'example.LookUpRows' USING 'my-functions.jar,pinlink-@VERSION@.jar,service.properties';
CREATE FUNCTION look_up_distinct AS 'example.LookUpDistinct' USING 'my-functions.jar,pinlink-@VERSION@.jar,service.properties';

-- To see first what stands between a job and its targets, before any function of your own.
CREATE FUNCTION pinlink_probe AS 'io.github.pinlink.maxcompute.Probe' USING 'pinlink-@VERSION@.jar';

-- 2. In each session that calls them, as one submission with the query.
-- Native code, files and sockets are closed to functions otherwise; the error names this flag.
SET odps.isolation.session.enable=true;
-- The way into a VPC: the network connection, by its name. One of the two, or both.
SET odps.session.networklink=my_network_link;
-- The way into the Internet: host:port, separated by commas. They must be on the project's list of external addresses, too.
SET odps.internet.access.list=kms.example:443;
-- A batch of rows (1024) must end within so many seconds, from 1 to 3600. Job.client(context) keeps each call below it,
-- Alive.claim() starts it anew between calls.
SET odps.function.timeout=600;

-- The way to each target step by step, what is probably missing, and the worker itself, in one cell. A library that may not
-- be loaded is told of there. The second form takes options of a client.
SELECT pinlink_probe('https://kms.example,mysql://rds.example:3306');
SELECT pinlink_probe('https://kms.example', 'nameservers=10.0.0.2 connect_timeout=3s');
-- A UDF: a row at a time, or an array in one batch.
SELECT look_up(id) FROM my_table;
SELECT look_up(COLLECT_LIST(id)) FROM my_table GROUP BY day;
-- A UDTF: batches of rows.
SELECT look_up_rows(id) AS (id, found, error) FROM my_table;
-- A UDAF: distinct codes, asked for once per group.
SELECT day, look_up_distinct(code) FROM my_table GROUP BY day;

-- 3. A MapReduce job that writes. Its argument names the job (Job.KEY): the same for every execution of this day's orders.
CREATE TABLE IF NOT EXISTS inserted (id STRING, outcome STRING, error STRING);
jar -resources my-functions.jar,pinlink-@VERSION@.jar,service.properties -classpath my-functions.jar:pinlink-@VERSION@.jar example.InsertOrders 2026-11-22;

-- 4. To start thousands of workers without one query to DNS: resolve once inside the job's network, ship the file, add it to
-- each USING or -resources above, and give Job.pins(context, "pins.json") to the client's builder.
ADD FILE pins.json -f;
