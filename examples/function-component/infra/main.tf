# No backend here: cdflow adds it from the account scheme.
terraform {
  required_version = ">= 1.6"
}

# A placeholder for a service, so that this deploys without a cloud. `image_id` names the image by digest, so the released
# image runs, and only a different image is a change.
resource "terraform_data" "greeter" {
  input = {
    host        = "${var.release["component"]}-${var.env}.${var.domain}"
    image       = var.release["image_id"]
    port        = 8080
    replicas    = var.replicas
    environment = { GREETING = var.greeting }
  }
}
