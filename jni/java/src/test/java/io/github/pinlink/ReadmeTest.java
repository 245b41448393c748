package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The promise: the Java that the README shows compiles as it stands, without a warning. */
class ReadmeTest {
    private static final Pattern BLOCK = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);

    /** What the README's readers have at hand. */
    private static final String AROUND = "import com.aliyun.odps.udf.*;\n"
            + "import io.github.pinlink.*;\n"
            + "import io.github.pinlink.maxcompute.*;\n"
            + "import java.io.*;\n"
            + "import java.net.*;\n"
            + "import java.nio.file.*;\n"
            + "import java.util.*;\n"
            + "import java.util.concurrent.*;\n"
            + "import javax.net.*;\n"
            + "class Example {\n"
            + "    void example(List<Request> requests, Map<String, String> sparkConf, Path target) throws Exception {\n"
            + "%s    }\n"
            + "}\n";

    private static final class Source extends SimpleJavaFileObject {
        private final String text;

        Source(String text) {
            super(URI.create("string:///Example.java"), Kind.SOURCE);
            this.text = text;
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return text;
        }
    }

    private static List<String> blocks() throws IOException {
        Path readme = Paths.get(System.getProperty("box.parity"), "..", "..", "README.md");
        Matcher matcher = BLOCK.matcher(new String(Files.readAllBytes(readme), StandardCharsets.UTF_8));
        List<String> blocks = new ArrayList<>();
        while (matcher.find()) {
            blocks.add(matcher.group(1));
        }
        return blocks;
    }

    @Test
    void everyJavaBlockOfTheReadmeCompiles(@TempDir Path folder) throws IOException {
        List<String> blocks = blocks();
        assertFalse(blocks.isEmpty());
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        for (String block : blocks) {
            DiagnosticCollector<JavaFileObject> said = new DiagnosticCollector<>();
            List<String> options = Arrays.asList("-Xlint:all,-processing", "-d", folder.toString(),
                    "-classpath", System.getProperty("java.class.path"));
            Source source = new Source(String.format(AROUND, block));
            compiler.getTask(null, null, said, options, null, Collections.singletonList(source)).call();
            List<String> found = new ArrayList<>();
            for (Diagnostic<?> diagnostic : said.getDiagnostics()) {
                found.add(diagnostic.toString());
            }
            assertEquals(Collections.emptyList(), found, block);
        }
    }
}
