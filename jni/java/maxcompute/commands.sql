-- What to paste into odpscmd or DataWorks, in this order. This folder holds exactly what is uploaded.

-- 1. Once per project. The jar brings the native library for linux-x86_64 (glibc 2.17 or later) inside.
ADD JAR pinlink-@VERSION@.jar -f;
-- Your own functions, compiled against it. Its dependency on pinlink is `provided`: one copy per job.
ADD JAR my-functions.jar -f;
CREATE FUNCTION my_function AS 'com.example.MyFunction' USING 'my-functions.jar,pinlink-@VERSION@.jar';

-- 2. In each session that calls it, as one submission with the query.
-- Native code, files and sockets are closed to functions otherwise; the error names this flag.
SET odps.isolation.session.enable=true;
-- The network that the job is let into (VPC), by its name. For the Internet: odps.internet.access.list=host:port,...
SET odps.session.networklink=my_network_link;
-- A batch of rows must end within this many seconds; keep the option `timeout` below it.
SET odps.function.timeout=600;
SELECT my_function(id) FROM my_table;

-- 3. To start thousands of workers without one query to DNS: resolve once inside the job's network, ship the file, and name
-- it in the option pin_set.
ADD FILE pins.json -f;
