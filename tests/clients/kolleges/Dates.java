import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.ZoneId;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;

/** Edits a certificate with dates as the JDK writes them: a zoned one as text, and one whose offset has no colon. */
public class Dates {
    public static void main(String[] arguments) throws Exception {
        ZonedDateTime begin = ZonedDateTime.of(2025, 4, 1, 9, 0, 0, 0, ZoneId.of("Asia/Seoul"));
        String end = begin.plusDays(6).format(DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ssZ"));
        String body = String.format("{\"course_begin_at\":\"%s\",\"course_end_at\":\"%s\",\"level\":8.3e1}", begin, end);
        String id = System.getenv("ACHIEVEMENT_ID");
        HttpRequest request = HttpRequest.newBuilder()
            .uri(URI.create(System.getenv("BASE_URL") + "/open-api/achievements/" + id))
            .header("Authorization", "Bearer " + System.getenv("API_KEY"))
            .header("Content-Type", "application/json")
            .method("PATCH", BodyPublishers.ofString(body))
            .build();
        HttpResponse<String> response = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        System.out.println(response.statusCode() + " " + response.body());
    }
}
