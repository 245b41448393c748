// The job of ../spark-java for the Scala shell, which needs nothing to be compiled:
//
//   spark-shell --jars pinlink-0.1.0.jar --conf spark.pinlink.hosts=https://rows.example \
//     --conf spark.enrich.source=https://rows.example/rows/ --conf spark.enrich.store=https://rows.example/stored/ \
//     --conf spark.enrich.output=enriched --conf spark.enrich.job='rows of 2026-11-22' -i enrich.scala </dev/null
//
// Addresses are resolved in the driver and broadcast; an executor's tasks share one client; a row's key is the same in
// every execution.

import io.github.pinlink._
import org.apache.spark.broadcast.Broadcast
import scala.collection.JavaConverters._

object Enrichment extends Serializable {
  /** How many rows are under way at once, at most. */
  val Batch = 16

  def apply(
      rows: Iterator[Long],
      options: Map[String, String],
      pins: Broadcast[String],
      job: String): Iterator[String] = {
    // The executor's first task builds it; it lives as long as the executor.
    val client = Client.builder().options(options.asJava).pinSet(PinSet.parse(pins.value)).buildShared()
    val scope = Scope.job(job)
    val (source, store) = (options("spark.enrich.source"), options("spark.enrich.store"))
    rows.grouped(Batch).flatMap { batch =>
      val answers = client.sendAll(batch.map(row => Request.get(source + row)).asJava).asScala.map(_.value)
      val writes = batch.zip(answers).map { case (row, answer) =>
        require(answer.isSuccess, s"row $row: status ${answer.status}")
        val key = scope.key("store row", Record.of(Long.box(row)))
        Write.of(Request.post(store + row).body(answer.body), key, Profile.idempotencyKey())
      }
      val written = client.writeAll(writes.asJava).asScala.map(_.value)
      (batch, answers, written).zipped.map((row, answer, write) => s"$row\t${answer.text}\t${write.outcome}")
    }
  }
}

val options = sc.getConf.getAll.toMap.filterKeys(_.matches("spark\\.(pinlink|enrich)\\..*")).map(identity)
val job = options("spark.enrich.job")
val pins = sc.broadcast(PinSet.resolve(Client.builder().options(options.asJava)).toJson)
val rows = options.getOrElse("spark.enrich.rows", "100").toLong
sc.range(0, rows).mapPartitions(Enrichment(_, options, pins, job)).saveAsTextFile(options("spark.enrich.output"))
System.exit(0)
