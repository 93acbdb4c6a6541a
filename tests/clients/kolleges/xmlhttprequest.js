const { XMLHttpRequest } = require("xmlhttprequest-ssl");
const { baseUrl, apiKey, achievementId, body: data } = require("./given");

const xhr = new XMLHttpRequest();
xhr.withCredentials = true;

const url = `${baseUrl}/open-api/achievements/${achievementId}`;

xhr.addEventListener("readystatechange", function () {
  if (this.readyState === this.DONE) {
    console.log("Response:", this.responseText);
  }
});

xhr.open("PATCH", url);
xhr.setRequestHeader("Content-Type", "application/json");
xhr.setRequestHeader("Accept", "application/json");
xhr.setRequestHeader("Authorization", "Bearer " + apiKey);
xhr.send(JSON.stringify(data));
