// axios says what it likes without being asked: `application/json, text/plain, */*`.
const axios = require("axios");

axios
  .get(`${process.env.BASE_URL}/enrollment/${process.env.ENROLLMENT_ID}`, {
    headers: { Authorization: process.env.TOKEN },
  })
  .then((response) => {
    console.log(typeof response.data, response.data.enrollmentId);
  })
  .catch((error) => {
    console.error("Error:", error.response ? error.response.data : error.message);
  });
